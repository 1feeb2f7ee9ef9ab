"""The images of the tier: bases pulled, or made here of Debian's packages where nothing can be pulled; ours built on them.

    python -m tests.containers.images        all of them are there afterwards, and named; quick the second time

A base that is made here trusts what this machine trusts, since the machine's own certificates may stand before its indexes.
The name of one ends with a digest of how it is made, so that another recipe makes another image.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.containers.daemon import absence, docker

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
POSTGRES_HERE = Path(__file__).with_name("postgres")
TARGETS = ("service", "load", "agent")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class NoImages(Exception):
    """Images can neither be pulled nor made here. One sentence."""


@dataclass(frozen=True, slots=True)
class Images:
    """The names of the images: what ours stand on, and ours."""

    python: str
    postgres: str
    service: str
    load: str
    agent: str


def prepared() -> Images:
    """All images are there. Raises NoImages."""
    wanted = defaults(DOCKERFILE.read_text("utf-8"))
    python, postgres = wanted["PYTHON_IMAGE"], wanted["POSTGRES_IMAGE"]
    if not (_pulled(python) and _pulled(postgres)):
        python = _base_made_here()
        postgres = _postgres_made_here(python)
    ours = {target: _built(target, python, postgres) for target in TARGETS}
    return Images(python, postgres, **ours)


def defaults(dockerfile: str) -> dict[str, str]:
    """The arguments of a Dockerfile that have a default."""
    return dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))


def bootstrap(certificates: Path = OWN_CERTIFICATES) -> tuple[str, ...]:
    """The command that writes a base image's files to standard output as an archive."""
    trust = (
        f"--customize-hook=copy-in {certificates} {certificates.parent}",
        '--customize-hook=chroot "$1" update-ca-certificates',
    )
    return (
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT), *(trust if certificates.is_dir() else ()),
        SUITE, "-",
    )  # fmt: skip


def _there(image: str) -> bool:
    return bool(docker("images", "--quiet", image))


def _pulled(image: str) -> bool:
    if _there(image):
        return True
    pull = ["docker", "pull", "--quiet", image]
    return subprocess.run(pull, capture_output=True, timeout=300, check=False).returncode == 0


def _base_made_here() -> str:
    command = bootstrap()
    image = f"gymkhana-made-here/python:{_digest(*command)}"
    if _there(image):
        return image
    if shutil.which(command[0]) is None or os.geteuid() != 0:
        raise NoImages(
            "No image can be pulled here, and only root with Debian's mmdebstrap can make one; install mmdebstrap, or "
            f"give Docker access to {defaults(DOCKERFILE.read_text('utf-8'))['PYTHON_IMAGE']}."
        )
    trust = f"ENV SSL_CERT_FILE={CERTIFICATES} PIP_CERT={CERTIFICATES}"
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as making:
            imported = subprocess.run(
                ["docker", "import", "--change", trust, "-", f"{image}-unfinished"],
                stdin=making.stdout, capture_output=True, check=False,
            )  # fmt: skip
        said.seek(0)
        if making.returncode or imported.returncode:
            words = (said.read() + imported.stderr).decode("utf-8", "replace").strip().splitlines()
            raise NoImages(f"No image can be pulled here, and mmdebstrap made none: {(words or ['no word'])[-1]}")
    docker("tag", f"{image}-unfinished", image)
    docker("rmi", f"{image}-unfinished")
    return image


def _postgres_made_here(python: str) -> str:
    recipe = sorted(POSTGRES_HERE.iterdir())
    image = f"gymkhana-made-here/postgres:{_digest(python, *(path.read_text('utf-8') for path in recipe))}"
    if not _there(image):
        _build("--tag", image, "--build-arg", f"PYTHON_IMAGE={python}", str(POSTGRES_HERE))
    return image


def _built(target: str, python: str, postgres: str) -> str:
    image = f"gymkhana-tests/{target}"
    bases = ("--build-arg", f"PYTHON_IMAGE={python}", "--build-arg", f"POSTGRES_IMAGE={postgres}")
    _build("--tag", image, "--target", target, *bases, str(ROOT))
    return image


def _build(*words: str) -> None:
    passed = [word for name in PROXIES if name in os.environ for word in ("--build-arg", name)]
    docker("build", "--quiet", *passed, *words)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def main() -> None:
    """Says what is there now. Without a Docker there is nothing to prepare, and the tests say so too."""
    if why := absence():
        print(why)
        return
    try:
        print(f"images: {', '.join(astuple(prepared()))}")
    except NoImages as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
