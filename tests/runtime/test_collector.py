"""The garbage collector after a start."""

import gc

from bridge.runtime.collector import YOUNG, resting_collector, settled


def test_what_a_start_made_is_never_walked_again_and_young_objects_less_often() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        with resting_collector():
            assert not gc.isenabled()
            settled()
            assert gc.isenabled()
            assert gc.get_freeze_count() > frozen
            assert gc.get_threshold() == (YOUNG, *before[1:])
        assert gc.isenabled()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
