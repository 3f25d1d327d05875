"""What guards every test does see what it is there for."""

import pytest

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("leak", "named"),
    [
        pytest.param(
            "import socket\ndef test_it():\n    global kept\n    kept = socket.socket()\n",
            "socket:",
            id="socket",
        ),
        pytest.param(
            "import threading\nend = threading.Event()\n"
            "def test_it():\n"
            "    threading.Thread(target=end.wait, args=(20,), name='forgotten', daemon=True).start()\n",
            "thread forgotten",
            id="thread",
        ),
        pytest.param(
            "import subprocess\ndef test_it():\n"
            "    global kept\n    kept = subprocess.Popen(['sleep', '20'])\n",
            "process",
            id="process",
        ),
        pytest.param(
            "import asyncio\nasync def test_it():\n    global kept\n"
            "    kept = asyncio.create_task(asyncio.sleep(20), name='forgotten')\n",
            "tasks forgotten",
            id="task",
        ),
    ],
)
def test_a_test_that_leaves_something_behind_fails(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, leak: str, named: str
) -> None:
    conftest = request.config.rootpath / "tests" / "conftest.py"
    pytester.makeconftest(conftest.read_text())
    pytester.makepyfile(leak)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    result.assert_outcomes(passed=1, errors=1)
    assert named in result.stdout.str()


@pytest.mark.parametrize(("ci", "outcome"), [("", "skipped"), ("true", "failed")])
def test_what_a_test_needs_may_be_missing_but_not_in_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: str
) -> None:
    monkeypatch.setenv("CI", ci)
    pytester.makepyfile(
        "from tests.support.needs import needs\n"
        "@needs(False, 'a moon')\n"
        "def test_it():\n    raise FileNotFoundError('no moon')\n"
    )
    result = pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    result.assert_outcomes(**{outcome: 1})
