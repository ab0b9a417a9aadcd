"""Results as a page for people, and as Markdown for GitHub."""
