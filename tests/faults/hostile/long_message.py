"""Raises with a message of 1 MB: control characters, ANSI, markup, workflow commands, links."""

part = (
    "\x1b[31m\x1b]0;title\x07\x1b[2J\r\n::error file=x::y\n\x00\x08\x7f\x9b1m\u202e\u2066"
    "[bold red]x[/] <script>alert(1)</script> @everyone #1 [a](http://b) ![x](y) ``` | --- |"
)
raise ImportError(part * (1 + (1 << 20) // len(part)))
