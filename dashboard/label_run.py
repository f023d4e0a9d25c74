"""The part of the page of labels that is about a language model: how far it is, what it proposes, what went wrong."""

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.labels.calls import working_on
from core.labels.endpoint import OPENAI_HOST
from core.labels.failures import OF_ANSWERS, Failure
from core.labels.offers import REASONS, Offer, Reason
from core.labels.stored import Heartbeat, Labels, jobs, read_heartbeat, read_labels
from core.runs import Run
from core.store import basis_of
from dashboard import cache, guard, state
from dashboard.charts import table_html
from dashboard.charts_trust import status_text
from dashboard.escape import for_markdown
from dashboard.listing import named
from dashboard.panels import show_card, show_note, show_section

REFRESH_S, SILENT_S = 2, 15.0
WHY = "tells held-out titles better than the keyword label"


def show_model_run(shown: Run) -> None:
    """Draw what a language model was asked, what came of it, and what can be asked again."""
    show_section("Labels of a language model", "optional: the page is complete without")
    found = read_labels(shown.workspace, shown.id)
    running = working_on(shown.workspace, shown.id)
    if running:
        _watch(shown.id)
    elif found is None:
        show_card(
            "No model was asked",
            "Any OpenAI-compatible server can propose labels from facts of the catalogue alone; nothing of any viewer "
            "leaves. --dry-run says what it comes to and sends nothing.",
            command(shown, "MODEL", "contrast", "--dry-run"),
        )
        return
    if found is not None and not running:
        _show_outcome(shown, found)
    if found is not None:
        show_offers(shown)


@st.fragment(run_every=REFRESH_S)
def _watch(run_id: str) -> None:
    """Draw how far a running labelling is, again every few seconds."""
    with guard.boundary():
        shown = cache.run(run_id)
        if not working_on(shown.workspace, run_id):
            st.rerun()
        beat = read_heartbeat(shown.workspace, run_id)
        if beat is None:
            show_card("A model is being asked now", "It has just begun. Ctrl-C there stops it; nothing is lost.")
            return
        share = min(beat.done / max(beat.total, 1), 1.0)
        st.progress(share, for_markdown(f"{beat.model} · {beat.stage}: {beat.done:,} of {beat.total:,} concepts"))
        show_note(progress_text(beat, time.time()))


def progress_text(beat: Heartbeat, now: float) -> str:
    """Say how long a labelling runs, how long it will take, what it cost and will cost, and whether it still lives."""
    left = "how long it will take is not known yet" if beat.left_s is None else f"about {_span(beat.left_s)} left"
    failed = f" {beat.failed:,} without a label so far." if beat.failed else ""
    cost = "Its price is not known"
    if beat.usd is not None:
        most = "" if beat.cap_usd is None else f" of at most {beat.cap_usd:g}"
        end = "" if beat.usd_at_end is None else f", about {beat.usd_at_end:.4f} at the end"
        cost = f"Spent {beat.usd:.4f} US dollars{most}{end}"
    silent = f" No sign of life for {_span(now - beat.at)}." if now - beat.at > SILENT_S else ""
    return (
        f"Began {_span(now - beat.started)} ago, {left}.{failed} {cost}, {beat.tokens:,} tokens.{silent} "
        "Ctrl-C there stops it; the same command goes on."
    )


def _span(seconds: float) -> str:
    """Give a time for people.

    >>> _span(0.4), _span(75), _span(4000)
    ('1 s', '1 min 15 s', '1 h 7 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _show_outcome(shown: Run, found: Labels) -> None:
    about, failed = found.about, found.failed
    n, n_jobs, host = len(found.named), len(jobs(shown.workspace, shown.id)), str(about.get("host", ""))
    others = f" The last of {n_jobs:,} such runs." if n_jobs > 1 else ""
    show_note(
        f"{about.get('model', '')} on {host}, preset {about.get('preset', '')}: {n:,} concepts named, "
        f"{sum(map(len, failed.values())):,} not. {_money(about)}{others}"
    )
    if not failed:
        return
    cells = [
        [why, f"{len(neurons):,}", ", ".join(f"#{j}" for j in neurons[:8]), helps(why)[0]]
        for why, neurons in failed.items()
    ]
    columns = ["Not named because", "Concepts", "Such as", "What helps"]
    st.html(f"<div class='sl-card'>{table_html(columns, cells, numeric=(1,))}</div>")
    own = [] if host == OPENAI_HOST else ["--base-url", "BASE_URL"]
    where = f" BASE_URL is the address on {host} that was given before." if own else ""
    ways = {more: text for text, more in map(helps, failed) if more is not None}
    for more, text in ways.items():
        show_card(
            text,
            f"{_count(failed, more)} Answers that could be used were kept and cost nothing again.{where}",
            command(shown, str(about.get("model", "MODEL")), str(about.get("preset", "contrast")), *own, *more),
        )


def helps(why: str) -> tuple[str, tuple[str, ...] | None]:
    """Say what helps against a failure, and what the command takes for it; None where no call helps."""
    if why == Failure.TOO_FEW:
        return "nothing: there is too little to show", None
    if why == Failure.CAP:
        return "Go on with a larger cap", ("--token-cap", "N")
    return ("Ask again", ("--again",)) if why in OF_ANSWERS else ("Go on", ())


def _count(failed: Mapping[str, Sequence[int]], more: tuple[str, ...]) -> str:
    n = sum(len(neurons) for why, neurons in failed.items() if helps(why)[1] == more)
    return f"For {n:,} concept{'s' * (n != 1)}."


def show_offers(shown: Run) -> None:
    """Draw the labels in use beside the model's, and the button that takes those that do better."""
    all_of_them = cache.offers(shown.id)
    better = [offer for offer in all_of_them if offer.better]
    if all_of_them:
        n_same = sum(offer.reason == "same" for offer in all_of_them)
        already = f" {n_same:,} more {'is' if n_same == 1 else 'are'} the name already." if n_same else ""
        show_note(
            f"{len(better):,} of {len(all_of_them):,} labels of the model tell held-out titles better than the keyword "
            f"label and than a label of another concept.{already} Only such a label can become a name; "
            "a person's always stays. They are chosen by the figures on their cards, which flatter them a little."
        )
    if better and st.button(f"Take all that do better ({len(better):,})", icon=":material/done_all:", key="take-all"):
        state.keep("labels_accepted", take(shown, better))
        st.rerun()
    taken = state.kept("labels_accepted")
    if taken is not None:
        st.success(
            for_markdown(f"{taken:,} label{'s' * (taken != 1)} taken over; those of people stay."),
            icon=":material/check:",
        )
        state.keep("labels_accepted", None)
    if not all_of_them:
        return
    view = pd.DataFrame(
        {
            "#": offer.neuron, "Model": offer.label, "What becomes of it": _fate(offer),
            "Now": named(offer.now, offer.neuron), "Source": offer.source,
            "Now, random": offer.old["random"], "Model, random": offer.new["random"],
            "Now, similar": offer.old["hard"], "Model, similar": offer.new["hard"],
            "Verdict": status_text(offer.new["status"]),
        }
        for offer in sorted(all_of_them, key=lambda offer: (not offer.better, offer.reason == "same", offer.neuron))
    )  # fmt: skip
    form = st.column_config.NumberColumn(format="%.2f", width=95)
    with st.expander(f"Old and new, {len(view):,} concepts"):
        st.dataframe(
            view, hide_index=True, height=min(38 + 35 * len(view), 388), placeholder="–",
            column_config={name: form for name in view if name.endswith(("random", "similar"))},
        )  # fmt: skip


def _fate(offer: Offer) -> str:
    fate = "can be taken" if offer.better else "stays a proposal"
    return said(offer.reason) if offer.reason == "same" else f"{fate}: {said(offer.reason)}"


def said(reason: Reason) -> str:
    """Give the reason for people."""
    return REASONS[reason]


def take(shown: Run, chosen: Sequence[Offer]) -> int:
    """Make labels of a model names, only those that do better and where no person named; gives how many."""
    store, sae = cache.store(), basis_of(shown.ids, "neurons")
    human = {neuron for neuron, label in store.labels(sae).items() if label.source == "human"}
    found = read_labels(shown.workspace, shown.id)
    by = str(found.about.get("model", "")) if found else ""
    taken = [offer for offer in chosen if offer.better and offer.neuron not in human]
    for offer in taken:
        store.set_label(shown.id, offer.neuron, offer.label, WHY, "llm", by or None)
    return len(taken)


def command(shown: Run, model: str, preset: str, *more: str) -> str:
    """Give the command that asks a model for labels of this run."""
    words = ["python", "-m", "core", "label", "--workspace", str(shown.workspace.path), "--run", shown.id]
    return shlex.join([*words, "--llm", model, "--preset", preset, *more])


def _money(about: Mapping[str, Any]) -> str:
    usd, cap = about.get("spent_usd"), about.get("cap_usd")
    spent = f"Spent {usd:.4f} US dollars" if isinstance(usd, int | float) else "Its price is not known"
    most = f" of {cap:g}" if isinstance(cap, int | float) else ""
    return f"{spent}{most}, {int(about.get('spent_tokens') or 0):,} tokens."
