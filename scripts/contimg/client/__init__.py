"""The service from Python: submit batches, wait for them, follow their logs, read tables.

    from contimg.client import Client
    with Client("http://127.0.0.1:8000", token) as service:
        batch = service.image(["2025-10-30T13:00:00"], robust=0.0)
        service.wait(batch.id)

It needs httpx, and pandas for tables; nothing of the pipeline.
"""

from contimg.client.client import Client, ServiceError

__all__ = ["Client", "ServiceError"]
