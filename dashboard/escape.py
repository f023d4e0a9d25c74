"""Titles, labels and tags are written by others: made safe here, one function for each place that interprets text."""

import html
import re

from core.errors import one_line

LIMIT = 120
"""Longest untrusted text that is shown whole, in characters."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$~:&^=@/])")
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
_WORD_JOINER = "\u2060"
"""Seen by nobody. Streamlit's Markdown links bare addresses after it has taken the backslashes away."""
_OPTION = re.compile(r" (?=--)")
_FORMULA = ("=", "+", "-", "@")


def for_markdown(text: object, limit: int = LIMIT) -> str:
    r"""Make text literal where Streamlit reads Markdown: labels of widgets, headings, metrics, captions.

    Bold, links, pictures, LaTeX (`$`), colours and icons (`:name:`, `:red[]`), HTML and bare addresses all lose their
    meaning: every sign that could start one gets a backslash, every address an invisible sign in its middle.

    >>> print(for_markdown("*$5* :red[x]"))
    \*\$5\* \:red\[x\]
    """
    return _MARKDOWN.sub(r"\\\1", _ADDRESS.sub(_WORD_JOINER, one_line(str(text), limit)))


def for_html(text: object, limit: int = LIMIT) -> str:
    """Make text literal inside HTML and its quoted attributes.

    >>> for_html('<img src=x onerror="a()">')
    '&lt;img src=x onerror=&quot;a()&quot;&gt;'
    """
    return html.escape(one_line(str(text), limit), quote=True)


def command_html(command: str) -> str:
    """Give a command to copy as safe HTML, which breaks a line only before an option; nothing for no command.

    >>> command_html("core build --seed 1")
    "<pre class='sl-command'><code><span>core build</span> <span>--seed 1</span></code></pre>"
    """
    parts = " ".join(f"<span>{for_html(part, 1000)}</span>" for part in _OPTION.split(command))
    return f"<pre class='sl-command'><code>{parts}</code></pre>" if command else ""


def for_csv(text: object) -> str:
    """Keep a spreadsheet from running a cell: text that begins like a formula gets an apostrophe before it.

    >>> for_csv("=HYPERLINK(1)")
    "'=HYPERLINK(1)"
    """
    folded = one_line(str(text), 1000)
    return f"'{folded}" if folded.startswith(_FORMULA) else folded
