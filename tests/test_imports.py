"""The arrows between the packages are those of the design, and no others."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "models": set[str](),
    "drivers": {"models"},
    "edge_agent": {"drivers", "models"},
    "collector": {"models"},
    "simulators": {"models"},
    "firmware_configs": set[str](),
}
BY_WAY_OF_EXCEPTION = {"collector/forward": {"edge_agent"}}
"""Decision 26: a collector forwards by the very uplink that a gateway uses."""

NOT_ON_A_GATEWAY = {"numpy", "scipy", "sklearn", "fastapi", "sqlalchemy", "alembic", "uvicorn"}
NOT_PURE = {
    "asyncio",
    "socket",
    "ssl",
    "subprocess",
    "sqlite3",
    "aiosqlite",
    "httpx",
    "fastapi",
    "time",
    "logging",
}


def imports_of(path: Path) -> set[str]:
    """The top-level names that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrow; write the package's name"
            found.add((node.module or "").partition(".")[0])
    return found


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def excepted(path: Path) -> set[str]:
    return BY_WAY_OF_EXCEPTION.get(str(path.parent.relative_to(ROOT)), set())


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_the_design_draws(package: str) -> None:
    ours = set(MAY_IMPORT) | {"tests", "bench", "demo", "soak"}
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports_of(path) & ours - {package} - MAY_IMPORT[package] - excepted(path)
    }
    assert not wrong


def test_models_do_no_input_or_output_and_know_no_clock() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules("models")
        for name in imports_of(path) & NOT_PURE
    }
    assert not wrong


def test_a_gateway_needs_nothing_of_the_collectors_libraries() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for package in ("drivers", "edge_agent")
        for path in modules(package)
        for name in imports_of(path) & NOT_ON_A_GATEWAY
    }
    assert not wrong
