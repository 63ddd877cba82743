import threading

import pytest
from rasterio._env import get_gdal_config

from geoseg.raster.cache import limited_cache


def _limit():
    return int(get_gdal_config("GDAL_CACHEMAX"))


def test_the_limit_holds_in_every_thread_and_goes_with_the_last_block():
    before = _limit()
    seen = []
    with limited_cache(8):
        thread = threading.Thread(target=lambda: seen.append(_limit()))
        thread.start()
        thread.join()
        with limited_cache(24):
            seen.append(_limit())
        with limited_cache(4):
            seen.append(_limit())
    assert seen == [8 * 2**20, 24 * 2**20, 8 * 2**20]
    assert _limit() == before


def test_blocks_that_overlap_in_two_threads_leave_no_trace():
    before = _limit()
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with limited_cache(16):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    with limited_cache(8):
        thread.start()
        entered.wait(10)
    assert _limit() == 16 * 2**20
    leave.set()
    thread.join()
    assert _limit() == before


def test_an_error_inside_gives_it_back_too():
    before = _limit()
    with pytest.raises(KeyError), limited_cache(8):
        raise KeyError
    assert _limit() == before
