"""One HTML file: sections of escaped text, tables and pictures, for a screen, a phone or A4.

The page holds no script and asks for nothing: a content policy in its head forbids both, so that a text of the data
that should ever get through unescaped could still do neither.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from core.errors import DataError, one_line

MAX_BYTES = 5_000_000
N_SHOWN = 1000
"""Rows of a table; those that are left out are counted below it."""

STYLE = """
:root { color-scheme: light dark; --ink: #191a2c; --quiet: #5d5f78; --line: #e3e3ee; --soft: #f5f5fa; --page: #fff;
  --accent: #4a45c4; --up: #0072b2; --down: #d55e00; --down-text: #a84300; --track: #ebebf4; --grey: #8a8ca3 }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #ecedf6; --quiet: #a3a5bd; --line: #2c2e40;
  --soft: #1a1b27; --page: #101119; --accent: #a5a3ff; --up: #56b4e9; --down: #f0883e; --down-text: #f0883e;
  --track: #282a3b; --grey: #77798f } }
* { box-sizing: border-box }
body { font: 15px/1.5 Inter, system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink);
  background: var(--page); margin: 0 auto; max-width: 58rem; padding: 2rem 1.25rem 3rem }
header { border-bottom: 1px solid var(--line); padding-bottom: 1rem } header p { margin: .4rem 0 0 }
.kind { color: var(--accent); font-weight: 600; font-size: .85rem; margin: 0 }
h1 { font-size: 1.8rem; line-height: 1.2; margin: .2rem 0 0; overflow-wrap: anywhere; letter-spacing: -.01em }
h2 { font-size: 1.12rem; margin: 0; overflow-wrap: anywhere } h3 { font-size: .95rem; margin: 1rem 0 .2rem }
section { margin-top: 1.7rem } p { margin: .35rem 0; overflow-wrap: anywhere } .soft { color: var(--quiet) }
.small { font-size: .85rem }
.facts { display: grid; grid-template-columns: repeat(3, 1fr); gap: .6rem; margin-top: 1rem }
.facts div { border: 1px solid var(--line); border-radius: .6rem; padding: .55rem .7rem; overflow-wrap: anywhere }
.facts b { display: block; font-size: 1.25rem; font-weight: 640; line-height: 1.3 }
.facts span { display: block; color: var(--quiet); font-size: .82rem }
.table { overflow-x: auto; margin-top: .5rem }
table { border-collapse: collapse; width: 100%; font-size: .88rem }
th, td { text-align: left; padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; max-width: 24rem } td.hash { font: .74rem/1.5 ui-monospace, monospace;
  overflow-wrap: anywhere; min-width: 15rem }
th { color: var(--quiet); font-weight: 550; font-size: .8rem; white-space: nowrap }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; padding-right: .8rem }
.bars { display: grid; grid-template-columns: minmax(6rem, 14rem) 1fr max-content; gap: .35rem .8rem;
  align-items: center; font-size: .88rem; margin-top: .6rem }
.bars span { overflow-wrap: anywhere } .bars .value { text-align: right; font-variant-numeric: tabular-nums }
.bars small { color: var(--quiet); display: block } .bars svg { width: 100%; height: 14px; display: block }
figure { margin: .6rem 0 0 } figure svg { width: 100%; height: auto; max-width: 46rem; display: block }
svg text { fill: var(--quiet); font-size: 12px } .track { fill: var(--track) } .up { fill: var(--up) }
.down { fill: var(--down) } .mark { fill: var(--ink) } .zero { fill: var(--quiet) } .range { opacity: .35 }
.grid { stroke: var(--line) } .line { fill: none; stroke: var(--up); stroke-width: 2.5 }
.band { fill: var(--up); opacity: .2 } .placebo { fill: none; stroke: var(--grey); stroke-width: 2;
  stroke-dasharray: 5 4 } .base { stroke: var(--ink); stroke-dasharray: 2 3 }
.limits { border-left: 3px solid var(--down); padding-left: .9rem } .limits ul { margin: .3rem 0; padding-left: 1.1rem }
.note { border-left: 3px solid var(--line); padding-left: .8rem; margin: .6rem 0 }
footer { margin-top: 2rem; color: var(--quiet); font-size: .82rem }
@page { size: A4; margin: 16mm 15mm }
@media print { body { max-width: none; padding: 0; font-size: 10pt } section { break-inside: auto }
  h2, h3 { break-after: avoid } tr, .facts div, .bars, figure, .limits { break-inside: avoid }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact } .table { overflow: visible } }
@media (max-width: 520px) { .facts { grid-template-columns: 1fr 1fr }
  .bars { grid-template-columns: minmax(5rem, 7.5rem) 1fr max-content } }
"""


class Fact(NamedTuple):
    """A number with its name and what it is to be read against. All plain text."""

    name: str
    value: str
    note: str = ""


class Table(NamedTuple):
    """A table of plain text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()
    """Which columns are numbers."""
    hashes: Sequence[int] = ()
    """Which columns are checksums."""


class Section(NamedTuple):
    """A part of a brief."""

    title: str
    take: str
    """One sentence that says what is to be seen."""
    body: str
    """Safe HTML, of `table_html`, `note_html` or `core.brief.pictures`."""


class Brief(NamedTuple):
    """A whole brief; everything but the bodies of its sections is plain text."""

    kind: str
    title: str
    summary: str
    facts: Sequence[Fact]
    sections: Sequence[Section]
    limits: Sequence[str]
    """A sentence each."""
    sources: Table
    """What it was made from, with checksums."""
    written: str
    """Date and author."""


def page(brief: Brief) -> str:
    """Write a brief as one HTML page.

    Raises:
        DataError: It would be larger than 5 MB.
    """
    facts = "".join(
        f"<div><span>{text(f.name)}</span><b>{text(f.value)}</b><span>{text(f.note)}</span></div>" for f in brief.facts
    )
    sections = "".join(
        f"<section><h2>{text(s.title)}</h2><p class='soft'>{text(s.take, 600)}</p>{s.body}</section>"
        for s in brief.sections
    )
    limits = "".join(f"<li>{text(sentence, 600)}</li>" for sentence in brief.limits)
    made = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(brief.kind)} · {text(brief.title)}</title><style>{STYLE}</style></head><body>"
        f"<header><p class='kind'>{text(brief.kind)}</p><h1 dir='auto'>{text(brief.title)}</h1>"
        f"<p>{text(brief.summary, 800)}</p></header><div class='facts'>{facts}</div>{sections}"
        f"<section class='limits'><h2>Limits</h2><ul>{limits}</ul></section>"
        "<section><h2>What this was made from</h2><p class='soft'>Artefacts of these checksums give the same figures."
        f"</p>{table_html(brief.sources)}</section>"
        f"<footer>{text(brief.written)} · offline, logged data · SteerLens</footer></body></html>\n"
    )
    size = len(made.encode("utf-8"))
    if size > MAX_BYTES:
        raise DataError(f"The brief has {size / 1e6:.1f} MB; it has at most 5.", "Choose less, for example one kind.")
    return made


def table_html(table: Table) -> str:
    """Give a table as safe HTML."""
    kinds = ["num" if i in table.numeric else "hash" if i in table.hashes else "" for i in range(len(table.columns))]
    head = "".join(f"<th scope='col' class='{k}'>{text(c)}</th>" for c, k in zip(table.columns, kinds, strict=True))
    lines = (
        "".join(f"<td class='{k}' dir='auto'>{text(c)}</td>" for c, k in zip(row, kinds, strict=True))
        for row in table.rows[:N_SHOWN]
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    left = len(table.rows) - N_SHOWN
    more = f"<p class='soft small'>and {left:,} more rows, which the page shows</p>" if left > 0 else ""
    return f"<div class='table'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"


def note_html(written: str, who: str) -> str:
    """Give something that a person wrote as safe HTML, its lines kept."""
    lines = "".join(f"<p dir='auto'>{text(line, 10_000)}</p>" for line in written.split("\n") if line.strip())
    return f"<div class='note'>{lines}<p class='soft small'>{text(who)}</p></div>"


def text(of: object, limit: int = 200) -> str:
    """Escape text for HTML and its quoted attributes, on one line.

    >>> text('<b onclick="a()">')
    '&lt;b onclick=&quot;a()&quot;&gt;'
    """
    return escape(one_line(str(of), limit), quote=True)
