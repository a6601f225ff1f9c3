"""Words in, exit code and lines out."""

import json

import pytest

from tests.fresh_python import run_script
from tf_metacompress.cli import command as command_module
from tf_metacompress.cli import main
from tf_metacompress.cli.command import Command
from tf_metacompress.cli.data import DATASETS
from tf_metacompress.cli.main import COMMANDS
from tf_metacompress.errors import InvalidArgumentError

COMPRESS = ["compress", "m.keras", "--data=d.npz", "--out=o"]


def run(capsys, *words):
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def replaced(monkeypatch, run_it):
    """Puts a command in the place of `demo` that does what it is told."""
    command = Command(
        name="demo",
        summary="",
        arguments=(),
        example="",
        define=lambda values: None,
        run=lambda values, positional: run_it(),
    )
    monkeypatch.setitem(COMMANDS, "demo", command)


def raising(error):
    def run_it():
        raise error

    return run_it


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command(capsys, words):
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert all(f"\n  {name} " in out for name in ("demo", "compress", "export", "benchmark"))
    assert "example:" in out


def test_without_words_the_overview_is_shown_and_it_is_an_error(capsys):
    code, out, _ = run(capsys)
    assert code == 2
    assert "usage:" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_that_parses(capsys, name):
    code, out, err = run(capsys, name, "--help")
    assert (code, err) == (0, "")
    example = out.rstrip().splitlines()[-1].split()
    assert example[:2] == ["tf-metacompress", name]
    values, positional = COMMANDS[name].parse(example[2:])
    COMMANDS[name].check(values)
    assert len(positional) == len(COMMANDS[name].arguments)
    assert "  --json " in out
    assert max(map(len, out.splitlines())) <= 110


def test_help_and_usage_errors_come_without_tensorflow():
    script = (
        "import sys, json\n"
        "from tf_metacompress.cli import main\n"
        "codes = [main(words) for words in json.loads(sys.argv[1])]\n"
        "heavy = {'tensorflow', 'keras', 'ai_edge_litert', 'sklearn', 'matplotlib'}\n"
        "print(json.dumps([codes, sorted(heavy & set(sys.modules))]))\n"
    )
    bad = [*COMPRESS, "--size-ratio=0.1", "--device=phone"]
    words = [["--help"], *([name, "--help"] for name in COMMANDS), ["--version"], ["dem"], bad]
    out = run_script("-c", script, json.dumps(words))
    codes, heavy = json.loads(out.splitlines()[-1])
    assert codes == [0] * (len(COMMANDS) + 2) + [2, 2]
    assert heavy == []


def test_the_version_is_told(capsys):
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.count(".") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dmeo"], "no command 'dmeo'. Did you mean 'demo'"),
        (["demo", "extra"], "demo takes no arguments"),
        (["demo", "--siz-ratio=0.1"], "no flag --siz-ratio. Did you mean '--size-ratio'"),
        (["demo", "--size-ratio=many"], "--size-ratio=many"),
        (["demo", "--size-ratio=0"], "size_ratio"),
        (["demo", "--size-ratio=1.5"], r"(0, 1]"),
        (["demo", "--size-ratio=nan"], "size_ratio"),
        (["demo", "--seed=-1"], "--seed"),
        (["demo", "--train-steps=0"], "--train-steps"),
        (["demo", "--device=cortexm"], "Did you mean 'cortex-m'"),
        (["demo", "--dataset=digit"], "Did you mean 'digits'"),
        (["demo", "--dataset="], "--data=FILE.npz or --dataset=NAME"),
        (["compress"], "compress takes MODEL.keras"),
        (["compress", "m.keras", "--data=d.npz"], "--out=DIR"),
        (COMPRESS, "either --size-ratio=R or --policy=FILE.json"),
        ([*COMPRESS, "--size-ratio=0.1", "--policy=p.json"], "either --size-ratio=R or"),
        (["compress", "m.keras", "--out=o", "--size-ratio=0.1"], "--data=FILE.npz"),
        ([*COMPRESS, "--size-ratio=0.1", "--steps=0"], "--steps"),
        ([*COMPRESS, "--size-ratio=0.1", "--learning-rate=0"], "--learning-rate"),
        (["export", "m.keras", "--mode=int4"], "--mode"),
        (["export", "m.keras", "--mode=int8"], "--data=FILE.npz"),
        (["export", "m.keras", "--io-dtype=int8"], "--mode=int8 only"),
        (["export", "m.keras", "--tolerance=-1"], "--tolerance"),
        (["export", "m.keras", "--targets"], "--targets needs --data=FILE.npz"),
        (["export", "m.keras", "--mean=1,2", "--std=1"], "--mean and --std go together"),
        (["export", "m.keras", "--mean=x", "--std=1"], "--mean takes numbers"),
        (["export", "m.keras", "--per-layer=much"], "--per-layer"),
        (["export", "m.keras", "--per-layers"], "Did you mean '--per-layer'"),
        (["benchmark", "a.tflite", "b.tflite"], "benchmark takes FILE.tflite"),
        (["benchmark", "a.tflite", "--num-runs=0"], "--num-runs"),
        (["inspect"], "inspect takes FILE.tflite"),
        (["compare", "a.tflite"], "compare takes A.tflite B.tflite"),
        (["compare", "a.tflite", "b.tflite", "--num-blocks=2"], "--num-blocks"),
        (["benchmark", "a.tflite", "--against=b.tflite", "--device=phone"], "this machine only"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("tf-metacompress: ") and err.count("\n") == 1
    if words[0] in COMMANDS:
        assert f"See tf-metacompress {words[0]} --help." in err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidArgumentError("Two\nlines.  Received: x=1."), "Two lines. Received: x=1."),
        (FileNotFoundError(2, "No such file", "a.b"), "No such file: 'a.b'."),
        (RuntimeError("out of\n luck."), "unexpected RuntimeError: out of luck. This is a bug"),
        (KeyError("x"), "unexpected KeyError: 'x'. This is a bug"),
        (MemoryError(), "unexpected MemoryError"),
    ],
)
def test_an_error_is_one_line_and_a_traceback_only_on_request(capsys, monkeypatch, error, message):
    replaced(monkeypatch, raising(error))
    code, out, err = run(capsys, "demo")
    assert (code, out) == (1, "")
    assert message in err and err.count("\n") == 1
    code, _, err = run(capsys, "demo", "--verbose")
    assert code == 1
    assert "Traceback (most recent call last)" in err and "in run_it" in err
    assert message in err.splitlines()[-1]


def test_ctrl_c_is_one_line_and_exit_code_130(capsys, monkeypatch):
    replaced(monkeypatch, raising(KeyboardInterrupt()))
    code, _, err = run(capsys, "demo")
    assert code == 130
    assert err == "tf-metacompress: interrupted; finished stages are kept, run it again to go on.\n"


def test_a_reader_that_goes_away_is_no_traceback():
    script = (
        "import sys\n"
        "from tf_metacompress.cli import main\n"
        "from tf_metacompress.cli.main import COMMANDS\n"
        "from dataclasses import replace\n"
        "def run(values, positional):\n"
        "    sys.stdin.read()\n"
        "    print('x' * 100000)\n"
        "COMMANDS['demo'] = replace(COMMANDS['demo'], run=run)\n"
        "sys.exit(main(['demo']))\n"
    )
    shell = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "p.stdout.close()\n"
        "p.stdin.close()\n"
        "print(repr(p.stderr.read()), p.wait())\n"
    )
    assert run_script("-c", shell, script).strip() == "b'' 1"


def test_flags_may_be_written_with_dashes_or_underscores_anywhere():
    for words in (
        ["--size-ratio", "0.2", "m.keras", "--out", "o", "--noquiet"],
        ["m.keras", "--size_ratio=0.2", "--out=o"],
        ["--out=o", "m.keras", "--size-ratio=0.2", "--quiet=false"],
    ):
        values, positional = COMMANDS["compress"].parse(words)
        assert (values.size_ratio, values.out, values.quiet) == (0.2, "o", False)
        assert positional == ["m.keras"]


def test_only_flags_are_rewritten_in_messages():
    assert command_module._dashed("--num_runs=a_b is a_b") == "--num-runs=a_b is a_b"


def test_the_data_sets_are_those_of_the_pipeline():
    from tf_metacompress import pipeline

    assert pipeline.DATASETS == DATASETS
