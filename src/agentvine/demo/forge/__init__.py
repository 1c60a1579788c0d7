"""A small forge for the demo: one repository with issues, pull requests, checks and webhooks, as Gitea has them."""
