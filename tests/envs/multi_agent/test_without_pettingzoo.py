"""Where PettingZoo is not installed, what needs it says so."""

import pytest

from perdure import PerdureError
from perdure.envs import petting


def test_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(petting, "ParallelEnv", object)
    with pytest.raises(PerdureError, match=r"in PettingZoo's form need it: pip install perdure\[agents\]"):
        petting.parallel("referential")
