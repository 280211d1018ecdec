# MKT search as a server. For the processor, or for an NVIDIA GPU:
#
#   docker build -t mkt-search .
#   docker build -t mkt-search:cuda --build-arg TORCH_BACKEND=cu130 .
#
# docs/operations.md says how to run it; compose.yaml does.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ARG TORCH_BACKEND=cpu
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /source
COPY pyproject.toml requirements.lock README.md LICENSE mkt.toml ./
COPY migrations migrations
COPY indexer indexer
COPY training training
COPY mkt_search mkt_search
# The environment is copied to the next stage, so it is made where it will be.
RUN uv venv /opt/mkt \
    && uv pip install --python /opt/mkt/bin/python --no-cache --compile-bytecode \
        --torch-backend "${TORCH_BACKEND}" --constraint requirements.lock \
        ".[cpu,heif,raw,web]"

FROM python:${PYTHON}-slim-bookworm
# Debian removes a version when the next one is out, so none is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libimage-exiftool-perl \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home mkt \
    && install --directory --owner=mkt --group=mkt /photos /library
COPY --from=build /opt/mkt /opt/mkt
# Downloaded models are kept with the library; both are slow to make again.
ENV PATH=/opt/mkt/bin:$PATH \
    MKT_LIBRARY=/library \
    HF_HOME=/library/models \
    PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /library
VOLUME ["/photos", "/library"]
EXPOSE 8765
# Without a token the server answers 401: it is there.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import http.client; c = http.client.HTTPConnection('127.0.0.1', 8765, timeout=5); c.request('GET', '/'); raise SystemExit(c.getresponse().status != 401)"]
ENTRYPOINT ["mkt"]
CMD ["serve", "--host", "0.0.0.0", "--token-file", "/run/secrets/mkt_token"]
