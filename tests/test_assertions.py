"""Every test asserts something: itself, or through a helper of the tests that does."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent
EXPECTATIONS = {"raises", "warns", "fail"}
"""Of pytest."""


class Function:
    """Name of a function of the tests, the names that it calls, and whether it asserts something itself."""

    def __init__(self, node: ast.FunctionDef) -> None:
        self.name = node.name
        parts = list(ast.walk(node))
        called = [part.func for part in parts if isinstance(part, ast.Call)]
        self.calls = {getattr(one, "attr", "") or getattr(one, "id", "") for one in called}
        self.asserts = (
            any(isinstance(part, ast.Assert) for part in parts)
            or bool(self.calls & EXPECTATIONS)
            or any(name.startswith("assert_") for name in self.calls)
        )


def list_functions(source: str) -> list[Function]:
    return [Function(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]


def find_tests_without_assertion(functions: dict[str, list[Function]]) -> list[str]:
    """Return `file: test` of each; a call counts where it is of a function of the tests that asserts."""
    asserting = {function.name for listed in functions.values() for function in listed if function.asserts}
    return sorted(
        f"{name}: {function.name}"
        for name, listed in functions.items()
        for function in listed
        if function.name.startswith("test_") and not function.asserts and not function.calls & asserting
    )


def test_every_test_asserts_something() -> None:
    functions = {
        str(path.relative_to(TESTS)): list_functions(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")
    }
    assert sum(function.name.startswith("test_") for listed in functions.values() for function in listed) > 900
    assert find_tests_without_assertion(functions) == []


def test_a_test_that_only_runs_code_is_found() -> None:
    source = """
def check(value): assert value
def show(value): print(value)
def test_by_itself(): assert True
def test_by_a_helper(): check(1)
def test_by_an_error():
    with pytest.raises(ValueError): show(1)
def test_by_numpy(): np.testing.assert_array_equal(1, 1)
def test_nothing(): show(1)
"""
    assert find_tests_without_assertion({"a.py": list_functions(source)}) == ["a.py: test_nothing"]
