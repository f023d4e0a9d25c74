"""The one boundary between code and people: around each page, and at the top of each fragment.

What a person can mend is shown as a card with the problem and its fix. Anything else is a bug: the page says so with a
short reference, and the traceback goes to the log under that reference, never to the browser.
"""

import functools
import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from core.errors import UserError
from dashboard.escape import command_html, for_html
from dashboard.navigation import path_of

log = logging.getLogger("steerlens.dashboard")

_COMMAND = re.compile(r"(python -m core\b.*?)\.?$")


@contextmanager
def boundary() -> Iterator[None]:
    """Show whatever goes wrong inside as a card. Streamlit's own control flow (stop, rerun) passes through."""
    try:
        yield
    except UserError as error:
        st.html(problem_card(error))
        with st.container(horizontal=True):
            st.page_link(path_of("overview"), label="Overview", icon=":material/home:")
            st.page_link(path_of("concepts"), label="All concepts", icon=":material/list_alt:")
    except Exception:
        reference = secrets.token_hex(4)
        log.exception("A page failed, reference %s", reference)
        st.html(failure_card(reference))


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that runs inside the boundary."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with boundary():
            return function(*args, **kwargs)

    return run


def fragment(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a Streamlit fragment with the boundary inside: a page's own boundary does not see a fragment's rerun."""
    return st.fragment(guarded(function))


def problem_card(error: UserError) -> str:
    """Give the card of something that a person can mend, as safe HTML; a command in the fix is set as code."""
    command = _COMMAND.search(error.fix)
    fix = (error.fix[: command.start()].rstrip(" :") + ":") if command else error.fix
    code = command_html(command[1] if command else "")
    return (
        "<section class='sl-card sl-problem' role='alert'>"
        f"<h2>{for_html(error.problem, 400)}</h2><p>{for_html(fix, 400)}</p>{code}</section>"
    )


def failure_card(reference: str) -> str:
    """Give the card of a bug, as safe HTML."""
    return (
        "<section class='sl-card sl-problem' role='alert'><h2>Something went wrong here</h2>"
        "<p>Nothing that was saved is lost. Reload the page; if it happens again, report this reference: "
        f"<code>{for_html(reference)}</code>. The details are in the server's log under it.</p></section>"
    )
