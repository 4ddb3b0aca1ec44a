"""The command line: words, exit codes, suggestions."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import warnings
from types import SimpleNamespace

import pytest

from keras_resnet import reproduce
from keras_resnet.__main__ import main
from keras_resnet.cli import run, serving, startup
from keras_resnet.cli.startup import import_frameworks
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.extras import EXTRAS
from tests.conftest import REPOSITORY
from tests.helpers.environments import SLURM
from tests.helpers.terminal import Terminal, rows_of


@pytest.mark.parametrize(
    "command",
    ["", *"list train evaluate analyze report predict export serve convert".split()],
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
    rows = table.splitlines()[1:]
    for row, (name, spec) in zip(rows, ARCHITECTURES.items(), strict=True):
        assert row.startswith(f"{name} ")
        assert spec.paper in row and row.endswith(spec.source)


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
        (["report", "nowhere"], "there is no folder"),
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


class Failed(Exception):
    """An error of TensorFlow's."""

    __module__ = "tensorflow.python.framework.errors_impl"


def test_an_error_of_tensorflow_while_training_says_how_to_go_on(capsys, monkeypatch):
    def fail(**_):
        raise Failed("photos/cat/1.png; No such file or directory")

    for name in ("train", "plan"):
        monkeypatch.setattr(reproduce, name, fail)
    assert main(["train"]) == 1
    said = (
        "keras-resnet: TensorFlow failed: photos/cat/1.png; No such file or directory\n"
    )
    more = (
        "Once the cause is mended, the same command goes on from the last checkpoint.\n"
    )
    assert capsys.readouterr().err == said + more
    assert main(["train", "--plan"]) == 1
    assert capsys.readouterr().err == said


def test_an_encoding_that_lacks_letters_is_named(capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "train", lambda **_: "фото".encode("ascii"))
    assert main(["train"]) == 2
    assert "'ascii' codec can't encode" in (said := capsys.readouterr().err)
    assert "set PYTHONUTF8=1, or LC_ALL=C.UTF-8, and run" in said


def test_quiet_training_prints_nothing(capsys, monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(reproduce, "train", lambda **given: asked.update(given))
    assert main(["train", "--quiet"]) == 0
    assert main(["train", "--quiet", "--seeds", "0-1"]) == 0
    assert asked["verbose"] == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "Ended by SIGTERM. The same command goes on from here.\n"),
        (["train", "--plan"], "Ended by SIGTERM.\n"),
    ],
)
def test_sigterm_says_so(capsys, monkeypatch, arguments, said):
    def wait(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)

    for name in ("train", "plan"):
        monkeypatch.setattr(reproduce, name, wait)
    before = signal.getsignal(signal.SIGTERM)
    assert main(arguments) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == said
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "words",
    [
        "list",
        "show quickstart",
        "train",
        "evaluate a",
        "analyze a lesions",
        "report a",
        "predict a b",
        "export a",
        "serve a",
        "convert a b",
    ],
)
@pytest.mark.parametrize("theirs", ["no such backend", None])
def test_no_command_needs_the_users_backend_of_matplotlib(words, theirs, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", theirs or "")
    if theirs is None:
        monkeypatch.delenv("MPLBACKEND")
    seen = []
    monkeypatch.setattr(
        run, "_done", lambda options: seen.append(os.environ["MPLBACKEND"]) or 0
    )
    assert main(words.split()) == 0
    assert seen == ["agg"]
    assert os.environ.get("MPLBACKEND") == theirs


def test_matplotlib_can_be_imported_whatever_its_backend_is(monkeypatch):
    """As Keras imports it; in a process of its own, since it reads the variable once."""
    monkeypatch.setenv("MPLBACKEND", "no such backend")
    words = [sys.executable, "-c", "import matplotlib"]
    assert subprocess.run(words, capture_output=True).returncode == 1
    with startup.without_a_display():
        assert subprocess.run(words, capture_output=True).returncode == 0


def test_training_that_sigterm_ended_says_so(capsys, monkeypatch):
    def train(**options):  # As `training.saving.Checkpoint` ends it, once it has saved.
        raise SystemExit(128 + signal.SIGUSR1)

    monkeypatch.setattr(reproduce, "train", train)
    assert main(["train"]) == 128 + signal.SIGUSR1
    assert "Ended by SIGUSR1. The same command goes on" in capsys.readouterr().err


EVALUATOR = json.dumps(
    {"cluster": {"chief": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}
)
WITH_PS = json.dumps(
    {"cluster": {"chief": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}
)


def test_an_evaluator_is_told_what_it_is(capsys, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", EVALUATOR)
    # A cloud ends the whole job where a task fails.
    assert main(["train", "--learning-rate", "0.1"]) == 0
    said = capsys.readouterr().err
    assert "This process is the evaluator" in said and "The chief and the" in said
    for function in (reproduce.train, reproduce.plan):
        with pytest.raises(ValueError, match="This process is the evaluator"):
            function("quickstart")


def test_parameter_servers_are_refused_where_one_trains(capsys, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", WITH_PS)
    assert main(["train"]) == 2
    assert "Parameter servers (the job 'ps'" in capsys.readouterr().err
    # Whatever the cluster: other commands run alone.
    looked = []

    monkeypatch.setattr(
        "keras_resnet.cli.run.import_frameworks",
        lambda *names, look_for_gpus: looked.append(look_for_gpus),
    )
    options = SimpleNamespace(
        quiet_start=True, command=lambda options: 0, frameworks=("keras",)
    )
    assert run._done(options) == 0
    assert looked == [True]


def test_many_seeds_in_tasks_of_slurm_are_told_how(capsys, monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "--seeds", "0-1"]) == 2
    assert "KERAS_RESNET_WORKERS=localhost:1" in capsys.readouterr().err


def test_warnings_are_one_line_without_their_source(capsys, monkeypatch):
    said = []

    def plan(**options):
        arguments = UserWarning("One image is bad."), UserWarning, "folders.py", 3
        said.append(warnings.formatwarning(*arguments))
        return ""

    monkeypatch.setattr(reproduce, "plan", plan)
    before = warnings.formatwarning
    assert main(["train", "--plan"]) == 0
    assert said == ["keras-resnet: One image is bad.\n"]
    assert warnings.formatwarning == before


def not_found(name):
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            not_found("litserve.utils"),
            "litserve is not installed: pip install '.[serve]' in the checkout",
        ),
        (not_found("tensorflow_datasets"), "pip install '.[data]'"),
        (not_found("tf2onnx"), "pip install '.[export]'"),
        (not_found("torch"), "torch is not installed: pip install torch"),
        (not_found("mlflow"), "mlflow is not installed: pip install mlflow"),
        (ImportError("torchvision can't be imported beside this torch"), "beside this"),
        (
            ImportError("libtf.so.2: failed to map segment from shared object"),
            "there is not enough memory to load a package",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(capsys, monkeypatch, error, said):
    def plan(**options):
        raise error

    monkeypatch.setattr(reproduce, "plan", plan)
    assert main(["train", "--plan"]) == 1
    text = capsys.readouterr().err
    assert said in text
    assert text.count("\n") == 1
    assert text.count("pip install") <= 1


def test_the_extras_that_are_named_exist():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("top5", [None, 12.5])
def test_evaluate_prints_a_top5_error_where_there_is_one(capsys, monkeypatch, top5):
    from keras_resnet.runs import evaluate

    result = {"data": "photos", "split": "test", "n": 7, "loss": 0.5}
    result |= {"top1_error": 25.0, "top5_error": top5, "protocol": "single_crop"}
    result |= {"top1_interval": [20.0, 31.5], "ece": 0.0125}
    monkeypatch.setattr(evaluate, "evaluate", lambda *args, **options: result)
    assert main(["evaluate", "runs/x"]) == 0
    said = "" if top5 is None else "top-5 error 12.50 %, "
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"photos test: top-1 error 25.00 %, {said}loss 0.5000, 7 images"
    assert second == (
        "top-1 error in 95 % of resamples: 20.00 to 31.50 %; calibration error 1.25 %"
    )


@pytest.mark.parametrize(
    "file", ["record.json", "source.json", "form.json", "2/saved_model.pb"]
)
def test_the_only_run_of_a_folder_is_served(tmp_path, file):
    def make(name):
        path = tmp_path / name / file
        path.parent.mkdir(parents=True)
        path.touch()
        return tmp_path / name

    (tmp_path / "notes").mkdir()
    assert serving.to_serve(str(tmp_path)) == tmp_path  # Whose worker says what lacks.
    run = make("one")
    assert serving.to_serve(str(tmp_path)) == serving.to_serve(str(run)) == run
    make("two")
    with pytest.raises(ValueError, match=r"it holds 2: name one of .*/one, .*/two\."):
        serving.to_serve(str(tmp_path))


STEP = """
import sys, time
from keras_resnet.cli.steps import step
with step("Exporting runs/[red]a_very_long_name_of_a_run_that_no_line_holds as onnx"):
    time.sleep(0.5)
print("done")
"""


@pytest.mark.parametrize("columns", [80, 40])
def test_a_long_step_is_one_row_of_a_terminal_and_then_gone(columns):
    terminal = Terminal(columns)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "CI")}
    subprocess.run(
        [sys.executable, "-c", STEP],
        stdin=terminal.file,
        stdout=terminal.file,
        stderr=terminal.file,
        env=environment | {"TERM": "xterm"},
        check=True,
    )
    text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", terminal.read())
    terminal.close()
    assert "Exporting runs/[red]a_very" in text
    assert rows_of(text, columns) <= 3  # The step's, "done", and the one below it.
    assert text.endswith("done\r\n")


CLOSED = """
import os, sys
from keras_resnet.__main__ import open_closed_streams
open_closed_streams()
with open(sys.argv[1], "wb", buffering=0) as file:
    os.write(1, b"of C++")
    os.write(2, b"of C++")
    print("Hello"), print("Hello", file=sys.stderr), sys.stdin.read()
    sys.stdout.isatty(), sys.stdout.flush(), sys.stderr.flush()
    file.write(b"whole")
"""


@pytest.mark.skipif(os.name == "nt", reason="a shell's")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_stream_that_is_closed(tmp_path, closed):
    file = tmp_path / "file"
    command = f'"$0" -c "$1" "$2" {closed}'
    words = ["sh", "-c", command, sys.executable, CLOSED, str(file)]
    done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == b"whole"


def test_a_long_step_says_nothing_in_a_pipe():
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_unknown_options_are_wrong_usage():
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--epoch-count", "3"])
    assert exit_.value.code == 2


@pytest.mark.slow
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


def test_gpus_are_looked_for_where_a_module_has_imported_tensorflow(monkeypatch):
    looked = []
    config = SimpleNamespace(list_physical_devices=looked.append)
    monkeypatch.setattr(startup, "tensorflow", lambda: SimpleNamespace(config=config))
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace())
    import_frameworks("json", look_for_gpus=True)  # As Keras may have, for `convert`.
    assert looked == ["GPU"]
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    import_frameworks("json", look_for_gpus=True)
    assert looked == ["GPU"]


def test_other_lines_of_an_import_are_kept(capfd, tmp_path, monkeypatch):
    (tmp_path / "noisy.py").write_text(
        "import os\n"
        "os.write(2, b'I0000 00:00:1.2    9 port.cc:153] oneDNN is on.\\n')\n"
        "os.write(2, b'INFO: Created TensorFlow Lite XNNPACK delegate.\\n')\n"
        "os.write(2, b'INFO:tensorflow:Assets written to: x/assets\\n')\n"
        "os.write(2, b'E0000 00:00:1.2  9 cuda_platform.cc:52] failed call to cuInit: '"
        "b'INTERNAL: CUDA error: UNKNOWN ERROR (303)\\n')\n"
        "os.write(2, b'E0000 00:00:1.2  9 session.cc:5] out of memory\\n')\n"
        "os.write(2, b'a real problem\\n')\n"
        "raise ImportError('no such thing')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="no such thing"):
        import_frameworks("noisy")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == (
        "E0000 00:00:1.2  9 session.cc:5] out of memory\na real problem\nafterwards\n"
    )
