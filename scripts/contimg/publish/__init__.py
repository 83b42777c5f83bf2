"""What passed, as read-only versions with a manifest: rule `publish_mosaic`."""
