"""Where a repository lives, beyond git: pull requests. GitHub, GitLab and Gitea plug in here."""
