"""The OWASP API Security Top 10 of 2023, one group of tests each; and what is said of clients' input."""

import json
import stat

import pytest
from fastapi.testclient import TestClient

from builders import service_sky, service_trees
from contimg.core.errors import InputError, SystemFault
from contimg.service.app import Parts, create
from contimg.service.security import COOKIE
from contimg.service.tokens import PREFIX, Tokens

IMAGE = {"ms_paths": service_trees.paths(0)}


@pytest.fixture
def tree(tmp_path):
    return service_trees.make(tmp_path, tiles=1, min_subbands=1)


class Served:
    """A service with a token of each role."""

    def __init__(self, settings, **how):
        tokens = Tokens(settings.state)
        self.settings = settings
        self.tokens = {role: tokens.add(role, role) for role in ("read", "run", "publish")}
        self.client = TestClient(create(settings, work=False), **how)

    def ask(self, method, path, role=None, **how):
        headers = how.pop("headers", {})
        if role is not None:
            headers = {"Authorization": f"Bearer {self.tokens[role]}", **headers}
        return self.client.request(method, path, headers=headers, **how)

    def audit(self):
        return [json.loads(line) for line in (self.settings.state / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def served(tree):
    return Served(tree)


class TestObjectLevelAuthorization:  # API1
    def test_every_object_is_asked_for_with_a_token(self, served):
        served.ask("POST", "/api/batch/image", "run", json=IMAGE)
        for path in (
            "/api/batch/1",
            "/api/jobs/id/2",
            "/api/batch/1/logs",
            "/batches/1",
            "/api/files/plan/x.json",
        ):
            assert served.ask("GET", path).status_code in (401, 303), path

    def test_who_may_only_run_touches_no_batch_that_publishes(self, served):
        told = served.ask("POST", "/api/batch/publish", "publish", json={"data_ids": ["2025-10-30/0830+55"]})
        number = told.json()["id"]
        assert served.ask("POST", f"/api/batch/{number}/cancel", "run").status_code == 403
        assert served.ask("DELETE", f"/api/batch/{number}", "publish").status_code == 200
        assert served.ask("POST", f"/api/batch/{number}/retry", "run").status_code == 403


class TestAuthentication:  # API2
    def test_tokens_have_256_random_bits_and_are_kept_as_hashes(self, tree):
        tokens = Tokens(tree.state)
        made = {tokens.add(f"n{number}", "read") for number in range(5)}
        assert len(made) == 5
        assert all(len(secret.removeprefix(PREFIX)) == 43 for secret in made)  # 32 bytes in base64
        text = tokens.path.read_text()
        assert not any(secret.removeprefix(PREFIX) in text for secret in made)
        assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600

    def test_a_revoked_or_expired_token_is_none_at_once(self, served):
        assert served.ask("GET", "/api/batch", "read").status_code == 200
        tokens = Tokens(served.settings.state)
        tokens.revoke("read")
        assert served.ask("GET", "/api/batch", "read").status_code == 401
        secret = tokens.add("short", "read", days=-1.0)
        assert (
            served.client.get("/api/batch", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
        )
        with pytest.raises(InputError, match="no token of this name"):
            tokens.revoke("nobody")

    def test_guessing_is_slowed_down(self, served):
        answers = [
            served.client.get("/api/batch", headers={"Authorization": "Bearer wrong"}).status_code
            for _ in range(15)
        ]
        assert answers[0] == 401
        assert answers[-1] == 429

    def test_a_session_s_cookie_is_out_of_reach_of_pages_and_other_sites(self, served):
        told = served.client.post("/api/session", json={"token": served.tokens["run"]})
        cookie = told.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert served.tokens["run"] not in told.text + cookie
        assert served.client.get("/api/batch").status_code == 200
        Tokens(served.settings.state).revoke("run")
        assert served.client.get("/api/batch").status_code == 401
        assert served.client.post("/api/session", json={"token": "wrong"}).status_code == 401

    def test_what_a_session_changes_needs_its_csrf_token(self, served):
        told = served.client.post("/api/session", json={"token": served.tokens["run"]}).json()
        assert served.client.post("/api/batch/image", json=IMAGE).status_code == 403
        wrong = {"X-CSRF-Token": "wrong"}
        assert served.client.post("/api/batch/image", json=IMAGE, headers=wrong).status_code == 403
        right = {"X-CSRF-Token": told["csrf_token"]}
        assert served.client.post("/api/batch/image", json=IMAGE, headers=right).status_code == 200
        assert served.client.delete("/api/session", headers=right).status_code == 200
        served.client.cookies.set(COOKIE, "gone")
        assert served.client.get("/api/batch").status_code == 401

    def test_no_token_in_an_address(self, served):
        assert served.client.get("/api/batch", params={"token": served.tokens["read"]}).status_code == 401

    def test_a_page_without_a_session_leads_to_the_login(self, served):
        answer = served.client.get("/batches", headers={"Accept": "text/html"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert served.client.get("/login").status_code == 200


class TestPropertyLevelAuthorization:  # API3
    def test_nothing_beyond_what_is_declared_is_taken(self, served):
        for body in (
            {**IMAGE, "id": 7},
            {**IMAGE, "parameters": {"submitted_by": "x"}},
            {**IMAGE, "branch": 1},
        ):
            answer = served.ask("POST", "/api/batch/image", "run", json=body)
            assert answer.status_code == 422
            assert any(name in answer.text for name in ("id", "submitted_by", "branch"))

    def test_no_answer_holds_a_secret_or_a_place_of_the_machine(self, served):
        served.ask("POST", "/api/batch/image", "run", json=IMAGE)
        for path in ("/api/batch", "/api/status", "/api/health", "/metrics", "/openapi.json"):
            text = served.ask("GET", path, "read").text
            assert str(served.settings.products) not in text, path
            assert not any(token in text for token in served.tokens.values())


class TestResourceConsumption:  # API4
    def test_long_bodies_are_refused_before_they_are_read(self, served):
        assert served.ask("POST", "/api/batch/image", "run", content=b"x" * 1_100_000).status_code == 413
        stated = {"Content-Length": "99999999999"}
        assert served.ask("POST", "/api/batch/image", "run", content=b"{}", headers=stated).status_code == 413

    def test_too_many_items_batches_or_requests_are_refused(self, tmp_path):
        limits = {"max_items": 2, "max_pending": 2, "requests_per_s": 2.0}
        served = Served(service_trees.make(tmp_path, tiles=1, min_subbands=1, service=limits))
        three = {"ms_paths": service_trees.paths(0, 1, 2)}
        assert "1 to 2 items" in served.ask("POST", "/api/batch/image", "run", json=three).text
        for number in (0, 1):
            told = served.ask(
                "POST", "/api/batch/image", "run", json={"ms_paths": service_trees.paths(number)}
            )
            assert told.status_code == 200
        full = served.ask("POST", "/api/batch/image", "run", json={"ms_paths": service_trees.paths(3)})
        assert (full.status_code, full.headers["retry-after"]) == (429, "60")
        many = [served.ask("GET", "/api/batch", "read").status_code for _ in range(40)]
        assert many[0] == 200
        assert 429 in many

    def test_pages_of_lists_are_bounded(self, served):
        assert served.ask("GET", "/api/batch?limit=1000000", "read").status_code == 422

    def test_downloads_have_a_limiter_of_their_own(self, tmp_path):
        served = Served(service_trees.make(tmp_path, tiles=0, service={"downloads_per_min": 3.0}))
        folder = served.settings.products / "plan"
        folder.mkdir()
        (folder / "x.json").write_text("{}")
        answers = [served.ask("GET", "/api/files/plan/x.json", "read").status_code for _ in range(5)]
        assert answers == [200, 200, 200, 429, 429]
        assert served.ask("GET", "/api/batch", "read").status_code == 200


class TestFunctionLevelAuthorization:  # API5
    @pytest.mark.parametrize(
        ("method", "path", "body", "role"),
        [
            ("POST", "/api/batch/image", IMAGE, "run"),
            ("POST", "/api/jobs/image", IMAGE, "run"),
            ("POST", "/api/batch/1/cancel", None, "run"),
            ("POST", "/api/batch/1/retry", None, "run"),
            ("DELETE", "/api/batch/1", None, "run"),
            ("POST", "/api/batch/publish", {"data_ids": ["2025-10-30/0830+55"]}, "publish"),
            ("GET", "/api/batch", None, "read"),
        ],
    )
    def test_each_role_may_what_it_may_and_no_more(self, served, method, path, body, role):
        roles = ("read", "run", "publish")
        for have in roles:
            status = served.ask(method, path, have, json=body).status_code
            assert (status != 403) == (roles.index(have) >= roles.index(role)), (have, status)
        assert served.ask(method, path, json=body).status_code == 401

    def test_a_mosaic_that_publishes_needs_the_role(self, served):
        body = {"calibrator_name": "3C286", "wait_for_published": True}
        assert served.ask("POST", "/api/mosaics/create", "run", json=body).status_code == 403
        assert served.ask("POST", "/api/mosaics/create", "publish", json=body).status_code == 200


class TestBusinessFlows:  # API6
    def test_the_same_request_twice_does_no_work_twice(self, served):
        one = served.ask("POST", "/api/batch/image", "run", json=IMAGE).json()
        two = served.ask("POST", "/api/batch/image", "run", json=IMAGE).json()
        assert one["id"] == two["id"]

    def test_idempotency_keys(self, served):
        key = {"Idempotency-Key": "night-1"}
        one = served.ask("POST", "/api/batch/image", "run", json=IMAGE, headers=key).json()
        served.ask("DELETE", f"/api/batch/{one['id']}", "run")
        assert (
            served.ask("POST", "/api/batch/image", "run", json=IMAGE, headers=key).json()["id"] == one["id"]
        )
        other = {"ms_paths": service_trees.paths(1)}
        assert served.ask("POST", "/api/batch/image", "run", json=other, headers=key).status_code == 409
        # another client's key is another key
        assert served.ask("POST", "/api/batch/image", "publish", json=other, headers=key).status_code == 200


class TestRequestForgery:  # API7: no address of a request is ever fetched; nothing outside the roots is read
    @pytest.mark.parametrize(
        "path",
        [
            "http://169.254.169.254/2025-10-30T13:00:00.ms",
            "file:///etc/2025-10-30T13:00:00.ms",
            "//host/share/x.ms",
        ],
    )
    def test_addresses_are_no_paths(self, served, path):
        told = served.ask(
            "POST", "/api/batch/image", "run", json={"ms_paths": [path, *IMAGE["ms_paths"]]}
        ).json()
        # an address without a leading slash is a relative path that names a tile: it is never opened
        assert told["items"][0]["status"] in ("failed", "pending")
        assert "169.254" not in (told["items"][0]["error"] or "")

    def test_paths_are_confined_after_links(self, served, tmp_path):
        secret = tmp_path / "secret"
        secret.mkdir()
        (secret / "key.json").write_text("{}")
        plans = served.settings.products / "plan"
        plans.mkdir()
        (plans / "out.json").symlink_to(secret / "key.json")
        (plans / "state.json").symlink_to(served.settings.state / "tokens.json")
        for path in (
            "plan/out.json",
            "plan/state.json",
            "state/service/tokens.json",
            "../secret/key.json",
            "plan/../../secret/key.json",
            "%2e%2e/secret/key.json",
            "/etc/passwd",
            "plan/.hidden",
            "batches/1/state/x",
            "plan/%00",
        ):
            assert served.ask("GET", f"/api/files/{path}", "read").status_code == 404, path
        item = str(secret / "2025-10-30T13:00:00.ms")
        told = served.ask("POST", "/api/batch/image", "run", json={"ms_paths": [item]}).json()
        assert told["status"] == "failed"
        assert "outside" in told["items"][0]["error"]


class TestMisconfiguration:  # API8
    def test_every_answer_carries_the_headers_and_none_allows_other_sites(self, served):
        answer = served.ask("GET", "/api/batch", "read", headers={"Origin": "https://evil.example"})
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control")]

    def test_other_sites_pages_and_foreign_names_are_stopped(self, served):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (
                served.ask("POST", "/api/batch/image", "run", json=IMAGE, headers=headers).status_code == 403
            )
        assert served.ask("GET", "/api/batch", "read", headers={"Host": "evil.example"}).status_code == 400

    def test_no_stack_trace_leaves_the_house(self, served, monkeypatch):
        def broken(**_):
            raise RuntimeError("secret inside")

        quiet = TestClient(served.client.app, raise_server_exceptions=False)
        monkeypatch.setattr(served.client.app.state.service.store, "marks", broken)
        answer = quiet.get("/api/batch", headers={"Authorization": f"Bearer {served.tokens['read']}"})
        assert answer.status_code == 500
        assert "secret inside" not in answer.text
        assert "number" in answer.json()["detail"]

    def test_two_services_on_one_tree_are_refused(self, tree):
        first = Parts(tree, watch=False)
        with pytest.raises(SystemFault, match="another service"):
            Parts(tree, watch=False)
        first.close(began=False)

    def test_without_tokens_only_loopback(self, tmp_path, monkeypatch, capsys):
        from contimg.cli.main import main

        (tmp_path / "in").mkdir()
        config = [f"incoming={tmp_path}/in", f"products={tmp_path}/out", "service={host: 0.0.0.0}"]
        assert main(["serve", "--config", *config]) == 2
        assert "there are no tokens" in capsys.readouterr().err


class TestInventory:  # API9
    def test_every_address_is_in_the_document_and_declares_its_refusals(self, served):
        paths = served.ask("GET", "/openapi.json").json()["paths"]
        for path, methods in paths.items():
            for method, told in methods.items():
                assert {"401", "403", "429"} <= set(told["responses"]) or path == "/api/session", (
                    path,
                    method,
                )
        assert len(paths) > 40


class TestUnsafeConsumption:  # API10: what is read from files is not trusted either
    def test_a_broken_table_or_sidecar_breaks_no_answer(self, served):
        service_sky.products(served.settings.products)
        qa = served.settings.products / "qa/2025-10-30" / f"{service_sky.TILE}.json"
        qa.write_text("not json")
        assert served.ask("GET", f"/api/qa/2025-10-30/{service_sky.TILE}", "read").status_code == 404
        (served.settings.products / "state/products.sqlite3").chmod(0o644)
        (served.settings.products / "state/products.sqlite3").write_bytes(b"not a database" * 100)
        assert served.ask("GET", "/api/health", "read").json()["status"] == "degraded"


def test_what_changes_something_is_in_the_audit_log(served):
    served.ask("POST", "/api/batch/image", "run", json=IMAGE)
    served.ask("POST", "/api/batch/1/cancel", "run")
    served.ask("POST", "/api/batch/image", "read", json=IMAGE)
    told = [(line.get("action"), line.get("who"), line.get("status")) for line in served.audit()]
    assert told == [("submit", "run", None), ("cancel", "run", None), (None, "read", 403)]
    assert not any(token in json.dumps(served.audit()) for token in served.tokens.values())
