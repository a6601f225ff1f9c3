"""The rules of the house as functions from parsed modules to lists of violations."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "tf_metacompress"

FLOORS = {
    "__main__": 9,
    "__init__": 8,
    "cli": 8,
    "pipeline": 7,
    "callbacks": 6,
    "meta": 5,
    "deploy": 5,
    "compression": 4,
    "controller": 4,
    "baselines": 4,
    "sparsity": 4,
    "policy_summary": 4,
    "surgery": 4,
    "calibration": 4,
    "distillation": 4,
    "legacy": 4,
    "wrappers": 3,
    "anatomy": 3,
    "ops": 2,
    "layer_tree": 2,
    "policy": 1,
    "tasks": 1,
    "schedules": 1,
    "errors": 0,
    "typing": 0,
    "atomic": 0,
    "progress": 0,
    "registration": 0,
    "text_table": 0,
}
# Imports between siblings that are meant.
DOORS = {
    ("atomic", "errors"),
    ("cli", "__init__"),
    ("compression", "surgery"),
    ("pipeline", "__init__"),
}
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "manager", "managers"}
WITHOUT_TENSORFLOW = ("tensorflow", "keras", "tf_keras")
PRIVATE_APIS = ("keras.src", "tensorflow.python", "tf.python", "tf_keras.src")
TFMOT = "tensorflow_model_optimization"

MAX_LINES, HARD_LINES = 300, 400
LONG_FILES: Mapping[str, str] = {}  # module -> why it may have between 300 and 400 lines
MAX_BODY, MAX_PARAMETERS, MAX_NESTING = 60, 7, 3

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One parsed file; `name` is dotted and a package's own file ends in `.__init__`."""

    name: str
    source: str
    tree: ast.Module

    @property
    def unit(self) -> str:
        return self.name.split(".")[1]

    @property
    def package(self) -> str:
        return self.name.rpartition(".")[0]


def parse(name: str, source: str) -> Module:
    return Module(name, source, ast.parse(source))


def read_package(root: Path) -> tuple[Module, ...]:
    """Parses every module of the package below `root`, each once."""
    return tuple(
        parse(".".join(path.relative_to(root).with_suffix("").parts), path.read_text("utf-8"))
        for path in sorted((root / PACKAGE).rglob("*.py"))
    )


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")[: -node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


def imports(module: Module) -> Iterator[str]:
    """Yields what a module imports: "a.b" for `import a.b`, "a.b.c" for `from a.b import c`.

    Imports inside functions and `import_module("a.b")` count too.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{_absolute(module, node)}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            function, first = node.func, node.args[0]
            called = getattr(function, "attr", getattr(function, "id", ""))
            if called in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                yield str(first.value)


def starts_with(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _target(name: str, known: set[str]) -> str | None:
    """The module of the package that an imported name lives in, if it is ours."""
    if not starts_with(name, (PACKAGE,)):
        return None
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        dotted = ".".join(parts[:length])
        for candidate in (dotted, f"{dotted}.__init__"):
            if candidate in known:
                return candidate
    return f"{dotted}.__init__"


def dependencies(modules: Sequence[Module]) -> dict[str, set[str]]:
    known = {module.name for module in modules}
    graph: dict[str, set[str]] = {}
    for module in modules:
        targets = {_target(name, known) for name in imports(module)}
        graph[module.name] = {target for target in targets if target} - {module.name}
    return graph


def floor_violations(modules: Sequence[Module]) -> list[str]:
    found = [f"{m.name}: give {m.unit} a floor" for m in modules if m.unit not in FLOORS]
    for name, targets in dependencies(modules).items():
        unit = name.split(".")[1]
        for target in sorted(targets):
            other = target.split(".")[1]
            if unit == other or {unit, other} - FLOORS.keys() or (unit, other) in DOORS:
                continue
            if FLOORS[other] > FLOORS[unit]:
                found.append(f"{name} imports upward: {target}")
            elif FLOORS[other] == FLOORS[unit]:
                found.append(f"{name} imports its sealed sibling {target}")
    return found


def cycle_violations(modules: Sequence[Module]) -> list[str]:
    graph, done, found = dependencies(modules), set(), []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in sorted(graph.get(name, ())):
                visit(target, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
    return found


def name_violations(modules: Sequence[Module]) -> list[str]:
    return [
        f"{module.name}: a banned name"
        for module in modules
        if BANNED_NAMES & {*module.name.split(".")}
    ]


def tensorflow_violations(modules: Sequence[Module]) -> list[str]:
    return [
        f"{module.name} (floor {FLOORS[module.unit]}) imports {name}"
        for module in modules
        if FLOORS.get(module.unit, 9) <= 1
        for name in imports(module)
        if starts_with(name, (*WITHOUT_TENSORFLOW, TFMOT))
    ]


def private_api_violations(modules: Sequence[Module]) -> list[str]:
    found = []
    for module in modules:
        attributes = (ast.unparse(n) for n in ast.walk(module.tree) if isinstance(n, ast.Attribute))
        used = {name for name in (*imports(module), *attributes) if starts_with(name, PRIVATE_APIS)}
        if used:
            found.append(f"{module.name} uses {sorted(used)}")
    return found


def tfmot_violations(modules: Sequence[Module]) -> list[str]:
    users = [m.name for m in modules if any(starts_with(name, (TFMOT,)) for name in imports(m))]
    return [f"more than one module imports {TFMOT}: {users}"] if len(users) > 1 else []


def _body_lines(function: _Function) -> int:
    documented = ast.get_docstring(function) is not None
    body = function.body[1:] if documented else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def _parameters(function: _Function) -> int:
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def _nesting(statements: Sequence[ast.stmt]) -> int:
    deepest = 0
    for statement in statements:
        if isinstance(statement, (*_Function.__args__, ast.ClassDef)):
            continue
        blocks = [getattr(statement, field, []) for field in ("body", "orelse", "finalbody")]
        blocks += [handler.body for handler in getattr(statement, "handlers", [])]
        blocks += [case.body for case in getattr(statement, "cases", [])]
        for block in filter(None, blocks):
            is_elif = block is getattr(statement, "orelse", None) and isinstance(block[0], ast.If)
            deepest = max(deepest, _nesting(block) + (not is_elif))
    return deepest


def size_violations(modules: Sequence[Module]) -> list[str]:
    found = []
    for module in modules:
        lines = len(module.source.splitlines())
        limit = HARD_LINES if module.name in LONG_FILES else MAX_LINES
        if lines > limit:
            found.append(f"{module.name} has {lines} lines, more than {limit}")
        for function in ast.walk(module.tree):
            if not isinstance(function, _Function):
                continue
            measures = {
                "body lines": (_body_lines(function), MAX_BODY),
                "parameters": (_parameters(function), MAX_PARAMETERS),
                "nested blocks": (_nesting(function.body), MAX_NESTING),
            }
            found += [
                f"{module.name}:{function.lineno} {function.name} has {count} {what}, limit {most}"
                for what, (count, most) in measures.items()
                if count > most
            ]
    return found


def _is_silent(handler: ast.ExceptHandler) -> bool:
    return all(
        isinstance(statement, ast.Pass | ast.Continue)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in handler.body
    )


def habit_violations(modules: Sequence[Module]) -> list[str]:
    """`assert`, a silent or bare `except`, unfinished work."""
    found = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assert):
                found.append(f"{module.name}:{node.lineno} asserts; raise an error of the package")
            elif isinstance(node, ast.ExceptHandler) and (node.type is None or _is_silent(node)):
                found.append(f"{module.name}:{node.lineno} hides an exception")
        for word in ("TODO", "FIXME", "XXX"):
            if word in module.source:
                found.append(f"{module.name} contains {word}")
    return found


def unlisted_registrations(modules: Sequence[Module], listed: Sequence[str]) -> list[str]:
    """Modules that register Keras classes outside the units loaded together with Keras."""
    return [
        f"{module.name} registers Keras classes: list it in _KERAS_MODULES"
        for module in modules
        if any(
            isinstance(node, ast.Attribute | ast.Name)
            and getattr(node, "attr", getattr(node, "id", "")) == "register_keras_serializable"
            for node in ast.walk(module.tree)
        )
        and module.unit not in {name.split(".")[0] for name in listed}
    ]
