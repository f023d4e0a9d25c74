"""Who may import whom (the house's rules), read from the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(p for folder in ("core", "dashboard", "pages") for p in (ROOT / folder).rglob("*.py"))
OPTIONAL: set[str] = set()
"""Optional dependencies that may be imported inside a function."""


def name_of(path: Path) -> str:
    """Give the dotted module name of a source file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Give (module, inside a function) of each import, `from a import b` also as `a.b`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inner
        elif isinstance(node, ast.ImportFrom):
            yield ("." * node.level) + (node.module or ""), id(node) in inner
            for alias in node.names:
                yield f"{'.' * node.level}{node.module}.{alias.name}", id(node) in inner


def offenders(folder: str, *forbidden: str, but: tuple[str, ...] = ()) -> list[str]:
    """Give `module imports what` for each import of a forbidden package below a folder."""
    found = []
    for path in SOURCES:
        module = name_of(path)
        if not f"{module}.".startswith(f"{folder}.") or any(f"{module}.".startswith(f"{b}.") for b in but):
            continue
        for target, _ in imports(path):
            if any(f"{target}.".startswith(f"{f}.") for f in forbidden):
                found.append(f"{module} imports {target}")
    return sorted(set(found))


def test_there_are_sources_to_look_at() -> None:
    assert len(SOURCES) > 20


def test_core_knows_no_dashboard_and_draws_nothing() -> None:
    assert offenders("core", "streamlit", "plotly", "dashboard", "pages") == []


def test_the_sae_knows_no_users_items_or_datasets() -> None:
    forbidden = (
        "core.data",
        "core.recommenders",
        "core.neurons",
        "core.steering",
        "core.pipeline",
        "core.runs",
        "core.labels",
    )
    assert offenders("core.sae", *forbidden) == []


def test_evaluation_knows_ranked_lists_only() -> None:
    forbidden = ("core.data", "core.recommenders", "core.sae", "core.neurons", "core.steering", "core.pipeline")
    assert offenders("core.evaluation", *forbidden) == []


def test_a_stage_never_looks_back() -> None:
    assert offenders("core.data", "core.recommenders", "core.sae", "core.neurons", "core.steering") == []
    assert offenders("core.recommenders", "core.sae", "core.neurons", "core.steering", "core.pipeline") == []
    assert offenders("core.neurons", "core.steering", "core.pipeline") == []


def test_torch_is_imported_only_by_the_sae_and_the_recommenders() -> None:
    found = offenders("core", "torch", but=("core.sae", "core.recommenders"))
    assert found + offenders("dashboard", "torch") + offenders("pages", "torch") == []


def test_maps_are_laid_out_in_one_module_and_drawn_in_one() -> None:
    libraries = ("umap", "sklearn")
    assert offenders("core", *libraries, but=("core.neurons.layout",)) + offenders("dashboard", *libraries) == []
    assert offenders("core", "core.neurons.layout", but=("core.analyses.map",)) == []
    assert offenders("dashboard", "plotly", but=("dashboard.charts_map",)) + offenders("pages", "plotly", "umap") == []
    assert offenders("dashboard", "core.neurons.layout", "core.analyses.map", "dashboard.charts_map") == []


def test_pages_never_import_pages() -> None:
    assert offenders("pages", "pages") == []


def test_charts_never_call_streamlit() -> None:
    charts = {name_of(path) for path in SOURCES if path.stem.startswith("charts")}
    assert len(charts) > 1
    assert [found for module in sorted(charts) for found in offenders(module, "streamlit")] == []


def test_imports_are_absolute_and_at_the_top() -> None:
    found = [
        f"{name_of(path)} imports {target}"
        for path in SOURCES
        for target, inside in imports(path)
        if target.startswith(".") or (inside and target.split(".")[0] not in OPTIONAL)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("st.session_state", "dashboard/state.py"),
        ("st.query_params", "dashboard/state.py"),
        ("st.cache_", "dashboard/cache.py"),
    ],
)
def test_streamlits_state_and_caches_have_one_home(text: str, home: str) -> None:
    found = [p.relative_to(ROOT).as_posix() for p in SOURCES if text in p.read_text(encoding="utf-8")]
    assert found in ([home], [])
    assert (ROOT / home).exists()


def test_nothing_unpickles() -> None:
    banned = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
    found = [
        f"{name_of(p)} imports {target}" for p in SOURCES for target, _ in imports(p) if target.split(".")[0] in banned
    ]
    assert found == []


@pytest.mark.parametrize(
    "module",
    ["core.pipeline", "core.runs", "core.neurons.table", "core.steering.steering", "core.report", "core.analyses.base"],
)
def test_the_common_path_imports_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(*(set(sys.modules) & {{'torch', 'umap', 'sklearn', 'numba', 'plotly'}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
