"""Images as the user handles them: pull, list, remove."""
