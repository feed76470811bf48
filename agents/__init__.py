"""The model's side: one client, an embedded server, and what proposes edges."""
