"""The wheel: what is in it, what it needs, the command line, the types."""
import inspect
import os
import re
import subprocess
import sys
import zipfile

import pytest

import uniface
from conftest import ROOT, WHEEL, run_python

needs_wheel = pytest.mark.skipif(not WHEEL, reason="UNIFACE_TEST_WHEEL does not name the wheel")


@needs_wheel
def test_the_wheel():
    name = os.path.basename(WHEEL)
    assert re.fullmatch(r"uniface-3\.1\.0-cp310-abi3-manylinux_2_\d+_\w+\.whl", name), name
    with zipfile.ZipFile(WHEEL) as wheel:
        names = set(wheel.namelist())
        models = [i for i in wheel.infolist() if i.filename.startswith("uniface/models/")]
        assert os.path.getsize(WHEEL) - sum(m.compress_size for m in models) <= 6_000_000
        assert {os.path.basename(m.filename) for m in models} >= {"detector.ufm", "large_accuracy_model.ufm"}
        assert {"uniface/py.typed", "uniface/_native.abi3.so", "uniface/bin/uniface"} <= names
        assert not any(n.endswith((".c", ".h", ".onnx")) for n in names)


@needs_wheel
def test_numpy_alone_is_enough(tmp_path):
    """A fresh environment with nothing but NumPy and the wheel."""
    done = subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    python = tmp_path / "venv" / "bin" / "python"
    for packages in (["numpy"], ["--no-deps", WHEEL]):
        done = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"the package index cannot be used: {done.stderr.strip()[-200:]}")
    program = ("import sys, uniface, numpy as np\n"
               "for n in uniface.__all__: getattr(uniface, n)\n"
               "uniface.Image(np.zeros((9, 9, 3), np.uint8)).save('a.jpg'); uniface.Image.from_path('a.jpg')\n"
               "print(uniface.__version__, sorted({m.split('.')[0] for m in sys.modules} & {'PIL', 'cv2', 'scipy'}))")
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "3.1.0 []", done.stdout + done.stderr
    done = subprocess.run([tmp_path / "venv" / "bin" / "uniface", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("uniface ")


def test_one_extension_for_all_versions():
    """Only the module's entry is visible, and no function of Python beyond the limited interface of 3.10."""
    path = uniface._native.__file__
    assert path.endswith("_native.abi3.so")
    symbols = subprocess.run(["readelf", "-W", "--dyn-syms", path], capture_output=True, text=True).stdout
    visible = {line.split()[-1] for line in symbols.splitlines()
               if " GLOBAL " in line and " UND " not in line and " FUNC " in line}
    assert visible == {"PyInit__native"}, visible
    assert "PyObject_GetBuffer" not in symbols  # of 3.11


def test_other_versions_of_python(tmp_path):
    """The same binary in each interpreter of 3.10 and later that has NumPy or can get it."""
    found = 0
    folder = os.path.dirname(os.path.dirname(uniface.__file__))
    for minor in (10, 12, 13):
        probe = subprocess.run([f"python3.{minor}", "-c", "import sys; print(sys.executable)"], capture_output=True,
                               text=True) if _exists(f"python3.{minor}") else None
        if not probe or probe.returncode:
            continue
        venv = tmp_path / str(minor)
        made = subprocess.run([probe.stdout.strip(), "-m", "venv", venv], capture_output=True)
        if made.returncode or subprocess.run([venv / "bin" / "pip", "install", "-q", "numpy"],
                                             capture_output=True).returncode:
            continue
        site = venv / "lib" / f"python3.{minor}" / "site-packages"
        os.symlink(os.path.join(folder, "uniface"), site / "uniface")
        done = subprocess.run([venv / "bin" / "python", "-c",
                               "import uniface, numpy; print(uniface.preprocess.resize_and_normalize("
                               "numpy.zeros((5, 5, 3), numpy.uint8)).shape)"], capture_output=True, text=True)
        assert done.stdout.strip() == "(160, 160, 3)", (minor, done.stderr)
        found += 1
    if not found:
        pytest.skip("no other interpreter with NumPy")


def _exists(program):
    return any(os.access(os.path.join(p, program), os.X_OK) for p in os.environ["PATH"].split(os.pathsep))


def test_the_command_line():
    status, text = run_python("-m", "uniface", "devices")
    assert status == 0 and text.startswith("CPU")
    status, text = run_python("-m", "uniface", "no-such-command")
    assert status == 2 and "no command" in text


def functions_of(cls):
    """Methods and properties that a class defines itself."""
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


def test_everything_public_is_documented():
    """Functions, classes, their methods and properties; what NamedTuple writes of itself is no docstring."""
    missing = []
    for name in uniface.__all__:
        thing = getattr(uniface, name)
        members = vars(thing).items() if inspect.ismodule(thing) else [(name, thing)]
        for member_name, member in members:
            home = getattr(member, "__module__", None)
            if member_name.startswith("_") or home is None or not home.startswith("uniface") or "._" in home:
                continue
            is_class = inspect.isclass(member)
            text = inspect.getdoc(member) or ""
            if (inspect.isfunction(member) or is_class) and (not text or text.startswith(f"{member_name}(")):
                missing.append(f"{name}.{member_name}")
            missing += [f"{name}.{member_name}.{n}" for n, f in functions_of(member) if not inspect.getdoc(f)] if is_class else []
    assert not missing


def test_names_in_the_guide_exist():
    """docs/python.md, with its table for users of other packages."""
    names = set(re.findall(r"\buniface(?:\.[A-Za-z_]\w*)+", (ROOT / "docs" / "python.md").read_text()))
    assert len(names) > 10
    for name in names:
        thing = uniface
        for part in name.split(".")[1:]:
            assert hasattr(thing, part), name
            thing = getattr(thing, part)


# ---- types ----

@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Runs mypy --strict on a file: (exit status, output)."""
    folder = str(tmp_path_factory.mktemp("mypy"))
    done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target",
                           folder, "mypy"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mypy cannot be installed: {done.stderr.strip()[-200:]}")
    return lambda path: run_python("-m", "mypy", "--strict", "--cache-dir", f"{folder}/cache", path,
                                   env={"PYTHONPATH": folder})


def test_a_strictly_typed_program(mypy):
    status, text = mypy(os.path.join(os.path.dirname(__file__), "typed_program.py"))
    assert status == 0 and "no issues found" in text, text


def test_types_find_mistakes(mypy, tmp_path):
    """What is public has types, so that each of these lines is found."""
    lines = ["import uniface", "uniface.Image.from_path(5)", "uniface.models.FaceEmbedder.load_pretrained(None)",
             "uniface.Pipeline(batch='8')", "uniface.Gallery.open('g', passphras='x')",
             "uniface.Precision.FP8", "uniface.preprocess.resize_and_normalize(None, target_size=160.5)",
             "x: str = uniface.verification.similarity([1.0], [1.0])", "uniface.models.Threshold('x')"]
    (tmp_path / "wrong.py").write_text("\n".join(lines) + "\n")
    status, text = mypy(tmp_path / "wrong.py")
    found = {int(n) for n in re.findall(r"wrong\.py:(\d+): error", text)}
    assert status == 1 and found == set(range(2, len(lines) + 1)), text
