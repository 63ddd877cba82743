import threading

import pytest
import rasterio
from rasterio.env import get_gdal_config, set_gdal_config

from geoseg.raster.cache import cache_limit, limited_cache


def test_the_limit_holds_in_every_thread_and_goes_with_the_last_block():
    before = cache_limit()
    seen = []
    with limited_cache(8):
        thread = threading.Thread(target=lambda: seen.append(cache_limit()))
        thread.start()
        thread.join()
        with limited_cache(24):
            seen.append(cache_limit())
        with limited_cache(4):
            seen.append(cache_limit())
    assert seen == [8 * 2**20, 24 * 2**20, 8 * 2**20]
    assert cache_limit() == before


def test_blocks_that_overlap_in_two_threads_leave_no_trace():
    before = cache_limit()
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with limited_cache(16):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    with limited_cache(8):
        thread.start()
        entered.wait(10)
    assert cache_limit() == 16 * 2**20
    leave.set()
    thread.join()
    assert cache_limit() == before


def test_an_error_inside_gives_it_back_too():
    before = cache_limit()
    with pytest.raises(KeyError), limited_cache(8):
        raise KeyError
    assert cache_limit() == before


def test_rasterio_reads_and_sets_options_of_the_whole_process():
    """If rasterio moves these two functions of its module ``env``: rasters and training workers are not read with a
    bounded cache any more, and memory grows with the height of a scene.
    """
    before = get_gdal_config("GDAL_CACHEMAX")
    assert isinstance(before, int)
    assert before > 2**20, "in bytes"
    set_gdal_config("GDAL_CACHEMAX", 5 * 2**20)
    try:
        with rasterio.Env():
            assert get_gdal_config("GDAL_CACHEMAX") == 5 * 2**20
        assert cache_limit() == 5 * 2**20, "it outlives an Env"
    finally:
        set_gdal_config("GDAL_CACHEMAX", before)
