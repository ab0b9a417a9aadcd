"""Places that cannot be written to are told in words: with what is wrong, and the way out."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness import cache
from harness.errors import ConfigurationError, DiskFullError
from harness.results import Writer
from tests.unit.sample_results import made


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR])
def test_a_place_that_may_not_be_written_to_is_named(tmp_path: Path, number: int) -> None:
    with pytest.raises(ConfigurationError) as caught, cache.disk_full_explained(tmp_path):
        raise OSError(number, "not allowed", str(tmp_path / "below" / "file"))
    assert f"{tmp_path} cannot be written to: not allowed" in caught.value.problem
    assert cache.LOCATION_VARIABLE in caught.value.advice


def test_a_file_elsewhere_says_nothing_of_the_place(tmp_path: Path) -> None:
    """What an entry is made of may be unreadable, too."""
    with pytest.raises(PermissionError), cache.disk_full_explained(tmp_path / "cache"):
        raise PermissionError(errno.EACCES, "not allowed", str(tmp_path / "source"))


def test_a_limit_on_the_size_of_files_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFullError, match="too large") as caught,
        cache.disk_full_explained(tmp_path),
    ):
        raise OSError(errno.EFBIG, "File too large")
    assert "ulimit -f" in caught.value.advice


def test_a_cache_below_what_is_no_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, "/dev/null/cache")
    with pytest.raises(ConfigurationError, match=r"/dev/null/cache/kind cannot be written to"):
        cache.entry("kind", "0" * 64, Path.touch)


def test_results_on_a_full_disk_are_told_once_and_not_tried_again() -> None:
    with Writer(Path("/dev/full")) as writer:
        with pytest.raises(DiskFullError, match="/dev/full"):
            writer.write(made())
        writer.write(made())
