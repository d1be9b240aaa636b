import shlex
import subprocess
import sys

import pytest

from pipelines.cli.main import main, parser


@pytest.mark.parametrize("command", [[], ["sing"], ["status", "out", "--loud"], ["compose"]])
def test_a_command_line_that_cannot_work_is_one_line_and_exit_code_1(command, capsys):
    assert main(command) == 1
    err = capsys.readouterr().err
    assert err.startswith("image2music: ")
    assert err.count("\n") == 1


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(f"\n    {command} " in out for command in ("index", "compose", "abc", "check", "midi", "status"))


@pytest.mark.process
def test_notation_commands_do_not_wait_for_beam_and_torch():
    program = (
        "import sys, pipelines.cli.main as c; c.parser(); print({'apache_beam', 'torch', 'lance'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_log_level_may_stand_behind_the_command():
    assert parser().parse_args(["status", "out", "--log_level", "ERROR"]).log_level == "ERROR"
    assert parser().parse_args(["--log_level", "ERROR", "status", "out"]).log_level == "ERROR"


def test_a_file_that_nobody_expected_to_fail_is_one_line_too(monkeypatch, capsys):
    def unreadable(output):
        raise PermissionError(13, "Permission denied", "out/run.json")

    monkeypatch.setattr("pipelines.cli.status.status", unreadable)
    assert main(["status", "out"]) == 1
    assert capsys.readouterr().err == "image2music: out/run.json: Permission denied\n"


@pytest.mark.process
def test_a_reader_that_has_had_enough_is_no_error(tmp_path):
    for number in range(200):
        (tmp_path / f"{number}.abc").write_text("X:1\nT:Broken\nM:4/4\nL:1/4\nK:C\n" + "CDE | " * 50)
    command = f"{shlex.quote(sys.executable)} -m pipelines.cli.main check {shlex.quote(str(tmp_path))} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
