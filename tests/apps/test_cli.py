"""The translator by itself, with a real Apertium: in a sandbox whose root is the app's base."""

import shutil
import subprocess

import pytest

from labsupport import Sandbox, processes
from labsupport.build.bases import PATH, find_archive
from labsupport.making.base import WHEELS_FOLDER
from tests.toys import CHECKOUT, stand_in

CLI = CHECKOUT / "notebooks/apps/simple_translate/cli.py"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The base's files, and the app's."""
    archive = find_archive()
    if archive is None:
        pytest.skip("needs the base image of the app (./lab base)")
    root = tmp_path_factory.mktemp("app")
    unpack = 'tar -xOf "$1" layer.tar | tar -xf - -C "$2"'
    subprocess.run(["sh", "-ec", unpack, "sh", archive, root], check=True)
    (root / "app").mkdir()
    shutil.copy(CLI, root / "app")
    return root


@pytest.fixture(scope="module")
def box(root):
    with Sandbox(new={"pid", "mount"}, rootfs=root) as box:
        for name, target in {"fd": "fd", "stdin": "fd/0"}.items():  # as engines do for containers
            assert box.run(["ln", "-s", f"/proc/self/{target}", f"/dev/{name}"]).returncode == 0
        yield box


@pytest.fixture(scope="module")
def settings(root):
    (wheel,) = (root / WHEELS_FOLDER).glob("tabulate-*.whl")
    return {"PATH": PATH, "PYTHONPATH": f"/{wheel.relative_to(root)}", "LANG": "C.UTF-8"}


@pytest.fixture(scope="module")
def cli(box, settings):
    """Run the translator; return what `Sandbox.run` does."""
    return lambda *words: box.run(["python3", "/app/cli.py", *words], env=settings)


def translation(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nOutput:\n")[2].removesuffix("\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--text", "Good morning"], "Buenos días"),
        (["-t", "Good morning", "-s", "eng", "-d", "spa"], "Buenos días"),
        (["-t", "Buenos días", "-s", "es", "-d", "en"], "Good morning"),
        (["-t", "Hello Pavlos"], "Hola Pavlos"),  # unknown words stay, without a mark
        (["-t", "{red} [house] <b> ^$ @ 100 %"], "{Rojo} [casa] <b> ^$ @ 100 %"),
    ],
)
def test_it_translates(cli, words, expected):
    assert translation(cli(*words)) == expected


def test_it_translates_a_file_line_by_line(cli, root):
    (root / "app/letter.txt").write_text("Good morning\n\nThe red house\n")

    assert translation(cli("--file", "/app/letter.txt")) == "Buenos días\n\nLa casa roja"


def test_a_long_text_comes_back_whole_and_a_longer_one_is_refused(cli, root):
    long, longer = root / "app/long.txt", root / "app/longer.txt"
    long.write_text("The red house. " * 2_000)
    longer.write_text("x" * 100_001)

    assert translation(cli("-f", "/app/long.txt")).count("La casa roja.") == 2_000
    refused = cli("-f", "/app/longer.txt")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "longer than 100,000 bytes" in refused.stderr


def test_what_the_shell_would_understand_is_only_text(cli, root):
    text = "$(touch /app/made); `touch /app/made` | cat"

    assert f"\nInput:\n{text}\n" in cli("-t", text).stdout
    assert not (root / "app/made").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-t", ""], "the text is empty"),
        (["-t", " \n"], "the text is empty"),
        (["-f", "/nowhere.txt"], "cannot read /nowhere.txt: No such file or directory"),
        (["-f", "/app"], "cannot read /app: Is a directory"),
        (["-f", "/app/latin-1.txt"], "the text is not UTF-8: byte 2 is the first fault"),
        (["-f", "/app/zero.txt"], "this is no text: it has a zero byte in it"),
        (["-f", "/dev/zero"], "the text is longer than 100,000 bytes"),
        (["-t", "x", "-d", "de"], "no translation from 'en' to 'de' is installed"),
        (["-t", "x", "-s", "../eng"], "no translation from '../eng' to 'es' is installed"),
        ([], "one of the arguments -t/--text -f/--file is required"),
        (["-t", "x", "-f", "/app/zero.txt"], "not allowed with argument"),
    ],
)
def test_what_cannot_be_had_is_said_with_status_2(cli, root, words, message):
    (root / "app/latin-1.txt").write_bytes("año".encode("latin-1")[:1] + b"b\xf1o")
    (root / "app/zero.txt").write_bytes(b"a\0b")
    done = cli(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"cli.py: error: {message}" in done.stderr or message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_bytes_on_the_command_line_that_are_not_utf_8_are_refused(box, settings):
    script = """exec python3 /app/cli.py -t "$(printf 'ab\\377')" """
    done = box.run(["sh", "-c", script], env=settings)

    assert done.returncode == 2
    assert done.stderr == "cli.py: error: the text is not UTF-8: byte 2 is the first fault\n"


def test_without_apertium_it_says_how_to_come_by_it(box, settings):
    argv = ["/usr/bin/python3", "/app/cli.py", "-t", "Good morning"]
    done = box.run(argv, env={**settings, "PATH": "/nowhere"})

    assert (done.returncode, done.stdout) == (2, "")
    assert "Apertium is not installed" in done.stderr
    assert "docker-shell.sh" in done.stderr


def test_one_that_hangs_is_ended_with_all_that_it_started(box, root, settings):
    stuck = root / "stuck"
    stuck.mkdir()
    stand_in(stuck / "apertium", '[ "$1" != -l ] || exec echo eng-spa\nsleep 600 | cat')
    program = "import cli, sys; cli.LONGEST_SECONDS = 1; sys.exit(cli.main(['-t', 'x']))"
    path = {"PATH": f"/stuck:{PATH}", "PYTHONPATH": f"/app:{settings['PYTHONPATH']}"}
    done = box.run(["python3", "-c", program], env={**settings, **path})

    assert done.returncode == 2
    assert "not translated within 1 seconds" in done.stderr
    assert not [each for each in processes(of=box) if "sleep" in each.command]
