"""The command line: words, exit codes, suggestions."""

import os
import subprocess
import sys

import pytest

from keras_resnet.__main__ import main
from keras_resnet.cli.startup import import_frameworks
from keras_resnet.config.architectures import ARCHITECTURES
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    "command",
    ["", "list", "train", "evaluate", "predict", "export", "serve", "convert"],
)
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*command.split(), "--help"])
    assert exit_.value.code == 0
    assert f"keras-resnet {command}".strip() in capsys.readouterr().out


def test_list(capsys):
    assert main(["list"]) == 0
    assert capsys.readouterr().out.split() == list(ARCHITECTURES)
    assert main(["list", "--details"]) == 0
    table = capsys.readouterr().out
    assert "25,557,032" in table
    assert len(table.splitlines()) == len(ARCHITECTURES) + 1


def test_show(capsys):
    assert main(["show", "resnet110"]) == 0
    text = capsys.readouterr().out
    assert "1,727,962" in text
    assert "0.2529 G" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "resnet-50"], "Did you mean 'resnet50'"),
        (["train", "quickstrat"], "Did you mean 'quickstart'"),
        (["evaluate", "nowhere"], "there is no folder"),
        (["predict", "nowhere", "x.png"], "there is no folder"),
        (["export", "nowhere"], "there is no folder"),
        (["serve", "nowhere"], "there is no folder"),
        (["train", "--val-fraction", "0.2"], "give a folder as `data`"),
        (["train", "quickstart", "--data", "photos"], "no folder of that name"),
        (["train", "--precision", "mixed_float16", "--devices", "cpu"], "needs a GPU"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # Where no finished run lies.
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_unknown_options_are_wrong_usage():
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--epoch-count", "3"])
    assert exit_.value.code == 2


def test_the_backend_is_read_before_keras_is_imported():
    pytest.importorskip("jax", reason="needs jax: pip install jax")
    code = (
        "import sys; from keras_resnet.__main__ import main; "
        "sys.modules['tensorflow'] = None; "  # Its import would fail.
        "assert 'keras' not in sys.modules; "
        "main(['show', 'resnet20', '--layers', '--backend', 'jax']); "
        "import keras; print(keras.backend.backend())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "jax", done.stderr[-2000:]


def test_an_unknown_backend_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["show", "resnet20", "--backend", "nonesuch"])
    assert exit_.value.code == 2
    assert "invalid choice: 'nonesuch'" in capsys.readouterr().err


def test_module_runs_as_the_command_does():
    done = subprocess.run(
        [sys.executable, "-m", "keras_resnet", "list"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "resnet1202" in done.stdout


@pytest.mark.slow
def test_answers_come_without_tensorflows_first_lines(tmp_path):
    run = str(REPOSITORY / "saved_models" / "quickstart_seed0")
    command = [sys.executable, "-m", "keras_resnet", "predict", run, "nowhere.png"]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    options = {"capture_output": True, "text": True, "env": environment}
    done = subprocess.run(command, **options)
    assert done.stderr.startswith("keras-resnet: There must be an image at nowhere.png")
    assert len(done.stderr.splitlines()) == 1
    loud = subprocess.run([*command, "--verbose"], **options).stderr
    assert "oneDNN" in loud or "cudart" in loud


def test_other_lines_of_an_import_are_kept(capfd, tmp_path, monkeypatch):
    (tmp_path / "noisy.py").write_text(
        "import os\n"
        "os.write(2, b'I0000 00:00:1.2    9 port.cc:153] oneDNN is on.\\n')\n"
        "os.write(2, b'a real problem\\n')\n"
        "raise ImportError('no such thing')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="no such thing"):
        import_frameworks("noisy")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "a real problem\nafterwards\n"
