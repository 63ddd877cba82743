"""`geoseg train` passes the configuration on, and says in one line what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from geoseg_cli.main import group


@pytest.mark.parametrize(
    "text", ["", "model: {unknown: 1}", "[1, 2]", "a: [", "!!python/object/apply:os.getcwd []"]
)
def test_a_wrong_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text)
    result = CliRunner().invoke(group, ["train", str(config), "-o", str(tmp_path / "run")])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.stderr
    assert str(config) in result.stderr
    assert not (tmp_path / "run").exists()
