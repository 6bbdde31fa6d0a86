# Every command of the project in one image (docs/containers.md); Dockerfile.worker is the image of a cluster's worker.
#   docker build --tag hpa-stacked .
#   docker run --rm hpa-stacked python -m pipeline --help
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/hpa_stacked/bin:$PATH PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib
RUN python3 -m venv /opt/hpa_stacked
COPY setup.cfg setup.py pyproject.toml README.md LICENSE /src/
COPY pipeline /src/pipeline
COPY hpa_cli /src/hpa_cli
COPY hpa_tfds /src/hpa_tfds
COPY model /src/model
RUN pip install --no-cache-dir "/src[train]" && rm -rf /src
# Whoever runs it: what it writes to a mounted folder belongs to the user of `docker run --user`.
WORKDIR /data
ENV HOME=/data
CMD ["python", "-m", "pipeline", "--help"]
