# docker build -t nas .        docker run --gpus all -v "$PWD:/work" nas fit --config …
ARG BASE=nvidia/cuda:13.0.2-runtime-ubuntu24.04
FROM ${BASE}

RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN python3 -m venv /opt/nas \
 && /opt/nas/bin/pip install --no-cache-dir -c /src/constraints.txt /src \
 && rm -rf /src

RUN useradd --create-home nas && mkdir /work && chown nas /work
USER nas
WORKDIR /work
ENTRYPOINT ["/opt/nas/bin/nas"]
CMD ["--help"]
