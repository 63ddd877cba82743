# An image that predicts, vectorizes and describes, without torch (docs/installation.md):
#   docker build -t geoseg .
#   docker run --rm -v "$PWD:/data" geoseg vectorize classes.tif -o landcover.gpkg
FROM python:3.11-slim

# rasterio's wheels use the system's expat.
RUN apt-get update && apt-get install -y --no-install-recommends libexpat1 && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY constraints.txt ./
COPY requirements requirements
RUN pip install --no-cache-dir -c constraints.txt -r requirements/predict.txt
COPY pyproject.toml README.md LICENSE ./
COPY geoseg geoseg
COPY cli cli
RUN pip install --no-cache-dir --no-deps .

# Kernels are compiled for the kind of processor that builds the image; on another each process compiles its own.
ENV NUMBA_CACHE_DIR=/opt/geoseg-kernels
RUN geoseg warmup

WORKDIR /data
ENTRYPOINT ["geoseg"]
