"""Reckon how long a map of a country or of the world takes, how much it reads and writes, and what is waited for.

    python examples/plan_country.py [--speed 0.65] [--workers 1,10,100,1000] [--storage 1000] ...

The defaults are a worker of two CPU cores with a U-Net ResNet34 in fp32. Replace them by what your machines do: `geoseg
map` prints million px/s and the seconds of the polygons at its end, `run.json` holds them.
"""

import argparse

AREAS = {
    "Germany": 357_600,
    "India": 3_287_000,
    "world": 135_000_000,
}  # km² of land, the world's without Antarctica
PIXELS = (10, 0.2)  # m
CELL = 4096  # px


def reckon(area, pixel, workers, given):
    """Return the gigapixels of a map, the terabytes read and written, the days of each step, and the slowest step."""
    pixels = area * 1e6 / pixel**2
    looked_at = pixels * given.margin
    read = pixels * given.overlap * given.bytes_in
    steps = {
        "computing": looked_at / (workers * given.speed * 1e6),
        "reading": read / (given.storage * 1e6),
        "scheduler": pixels / CELL**2 * given.task / 1e3,
        "polygons": pixels / (given.polygons * 1e6),
    }
    days = {name: seconds / 86_400 for name, seconds in steps.items()}
    # Cells are computed while others are read; the polygons are drawn by one process at the end.
    together = max(days["computing"], days["reading"], days["scheduler"]) + days["polygons"]
    slowest = max(days, key=days.get)
    return pixels / 1e9, read / 1e12, pixels * given.bytes_out / 1e12, together, days, slowest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", type=float, default=0.65, help="million px/s of one worker")
    parser.add_argument("--workers", default="1,10,100,1000", help="numbers of workers")
    parser.add_argument(
        "--bytes-in", type=float, default=3.0, help="bytes read per pixel of a scene, as compressed"
    )
    parser.add_argument("--bytes-out", type=float, default=0.5, help="bytes of cells and polygons per pixel")
    parser.add_argument(
        "--storage", type=float, default=1000.0, help="MB/s that the storage gives to all workers"
    )
    parser.add_argument(
        "--overlap", type=float, default=1.3, help="how often ground is read, as scenes overlap"
    )
    parser.add_argument(
        "--margin", type=float, default=1.2, help="how often a pixel goes through the network"
    )
    parser.add_argument("--task", type=float, default=5.0, help="ms of the scheduler per cell")
    parser.add_argument(
        "--polygons", type=float, default=5.0, help="million px/s of the process that draws polygons"
    )
    given = parser.parse_args()

    numbers = [int(number) for number in given.workers.split(",")]
    head = [
        "land",
        "pixel",
        "gigapixels",
        "TB read",
        "TB written",
        "workers",
        "days",
        "hours of polygons",
        "slowest",
    ]
    print(" | ".join(head))
    for name, area in AREAS.items():
        for pixel in PIXELS:
            for workers in numbers:
                giga, read, written, days, steps, slowest = reckon(area, pixel, workers, given)
                row = [name, f"{pixel} m", f"{giga:,.4g}", f"{read:,.4g}", f"{written:,.4g}", f"{workers:,}"]
                row += [f"{days:,.3g}", f"{steps['polygons'] * 24:,.3g}", slowest]
                print(" | ".join(row))


if __name__ == "__main__":
    main()
