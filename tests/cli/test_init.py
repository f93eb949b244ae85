"""`plantbridge init`: what it writes passes `check`, and nothing is overwritten."""

from __future__ import annotations

import itertools
import stat
from pathlib import Path

import pytest

from bridge.cli.init import VENDORS
from bridge.cli.main import main
from bridge.config.site import load_site


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    return (int(caught.value.code or 0), *capsys.readouterr())


@pytest.mark.parametrize("vendors", [*((one,) for one in VENDORS), VENDORS])
def test_what_is_written_passes_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], vendors: tuple[str, ...]
) -> None:
    folder = tmp_path / "plant"
    chosen = itertools.chain.from_iterable(("--vendor", vendor) for vendor in vendors)
    code, out, err = told(capsys, "init", folder, *chosen, "--site", "essen")
    assert code == 0, err
    code, _, err = told(capsys, "check", folder / "bridge.yaml")
    assert code == 0, err
    site = load_site([folder / "bridge.yaml"], {})
    assert sorted(source.type for source in site.file.sources.values()) == sorted(vendors)
    assert site.file.bridge.site == "essen"
    assert str(folder / "bridge.yaml") in out


def test_secrets_are_for_the_owner_alone_and_never_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "init", tmp_path, "--vendor", "quantiix")
    files = [*(tmp_path / "secrets").iterdir()]
    assert (code, len(files)) == (0, 3)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    password = (tmp_path / "secrets" / "scada.password").read_text().strip()
    assert len(password) >= 20
    assert password not in out + err + (tmp_path / "bridge.yaml").read_text()
    assert "secrets/" in (tmp_path / ".gitignore").read_text()
    user = load_site([tmp_path / "bridge.yaml"], {}).file.northbound.opcua.users[0]
    assert user.password_hash is not None
    assert user.password_hash.get_secret_value().startswith("scrypt$")


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bridge.yaml").write_text("mine")
    code, _, err = told(capsys, "init", tmp_path)
    assert (code, "there already, nothing was written" in err) == (1, True)
    assert [file.name for file in tmp_path.iterdir()] == ["bridge.yaml"]
    assert (tmp_path / "bridge.yaml").read_text() == "mine"


def test_a_name_that_is_no_topic_level_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "init", tmp_path, "--site", "a/b")
    assert (code, "level of topics" in err) == (2, True)
