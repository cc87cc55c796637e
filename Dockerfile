# SPDX-License-Identifier: Apache-2.0
# trainerd as a container image; deploy/README.md says how to run it.
#   docker build -t trainerd .                      daemon, client, worker for the CPU
#   docker build -t trainerd:cuda --target cuda .   the same with the CUDA plugin and its libraries
#   docker build --target control .                 daemon and client, without LibTorch
# BASE: Debian 12, Debian 13 or Ubuntu 24.04.
# A changed source file costs no download: what is downloaded is in stages of its own, and compiled
# objects are in a cache of the builder.
ARG BASE=debian:bookworm-slim

# ---- compiler and libraries
FROM ${BASE} AS build-base
WORKDIR /src
COPY deploy/install_dependencies.sh deploy/least_versions.sh deploy/
COPY deploy/requirements deploy/requirements/
RUN deploy/install_dependencies.sh --no-engine && \
    apt-get install -y --no-install-recommends dpkg-dev file && rm -rf /var/lib/apt/lists/*

# ---- LibTorch, and the part of it that a worker without CUDA loads
FROM build-base AS build-libtorch
RUN deploy/install_dependencies.sh && rm -rf /var/lib/apt/lists/*
COPY deploy/container/cpu_libraries.sh deploy/container/
RUN deploy/container/cpu_libraries.sh /root/.cache/trainerd/libtorch-2.11.0 /libtorch

FROM build-libtorch AS build-libtorch-cuda
RUN deploy/install_dependencies.sh --cuda && rm -rf /var/lib/apt/lists/*

# ---- what needs no LibTorch, as Debian packages: they name the libraries that they need.
FROM build-base AS build
# More flags for cmake; compile jobs at the same time, if not one for each processor.
ARG CMAKE_FLAGS=
ARG CMAKE_BUILD_PARALLEL_LEVEL=
COPY . .
RUN --mount=type=cache,target=/root/.cache/trainerd/ccache \
    cmake --preset release -DTRAINERD_ENGINE=OFF ${CMAKE_FLAGS} && cmake --build build/release && \
    cpack --config build/release/CPackConfig.cmake -B /packages

FROM ${BASE} AS control
# A fixed number, for the owner of volumes.
RUN groupadd --gid 10001 trainerd && \
    useradd --uid 10001 --gid trainerd --home-dir /var/lib/trainerd --no-create-home trainerd
COPY --from=build /packages/*.deb /packages/
RUN apt-get update && apt-get install -y --no-install-recommends /packages/*.deb && \
    rm -rf /packages /var/lib/apt/lists/*
COPY deploy/container/entrypoint.sh /usr/local/bin/trainerd-entrypoint
ENV HOME=/var/lib/trainerd XDG_STATE_HOME=/var/lib TRAINERD_CACHE=/var/cache/trainerd
USER 10001
WORKDIR /var/lib/trainerd
VOLUME /var/lib/trainerd
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["trainctl", "health"]
ENTRYPOINT ["/usr/local/bin/trainerd-entrypoint"]

# ---- the worker
FROM build AS build-worker
ARG CMAKE_BUILD_PARALLEL_LEVEL=
RUN --mount=type=cache,target=/root/.cache/trainerd/ccache \
    --mount=type=bind,from=build-libtorch,source=/root/.cache/trainerd/libtorch-2.11.0,target=/root/.cache/trainerd/libtorch-2.11.0 \
    cmake --preset release -DTRAINERD_ENGINE=ON -DTRAINERD_CUDA=OFF && \
    cmake --build build/release && rm -rf /packages && \
    cpack --config build/release/CPackConfig.cmake -D CPACK_COMPONENTS_ALL=worker -B /packages

FROM control AS cpu
USER 0
COPY --from=build-worker /packages/*.deb /packages/
RUN apt-get update && apt-get install -y --no-install-recommends /packages/*.deb && \
    rm -rf /packages /var/lib/apt/lists/*
COPY --from=build-libtorch /libtorch /opt/libtorch
ENV TRAINERD_TORCH_LIB=/opt/libtorch/torch/lib
USER 10001

FROM build-worker AS build-cuda
ARG CMAKE_BUILD_PARALLEL_LEVEL=
RUN --mount=type=cache,target=/root/.cache/trainerd/ccache \
    --mount=type=bind,from=build-libtorch-cuda,source=/root/.cache/trainerd/libtorch-2.11.0,target=/root/.cache/trainerd/libtorch-2.11.0 \
    --mount=type=bind,from=build-libtorch-cuda,source=/root/.cache/trainerd/cuda-13.0,target=/root/.cache/trainerd/cuda-13.0 \
    cmake --preset release -DTRAINERD_CUDA=ON && \
    cmake --build build/release && rm -rf /packages && \
    cpack --config build/release/CPackConfig.cmake -D CPACK_COMPONENTS_ALL=worker -B /packages

FROM control AS cuda
USER 0
COPY --from=build-cuda /packages/*.deb /packages/
RUN apt-get update && apt-get install -y --no-install-recommends /packages/*.deb && \
    rm -rf /packages /var/lib/apt/lists/*
COPY --from=build-libtorch-cuda /root/.cache/trainerd/libtorch-2.11.0/nvidia /opt/libtorch/nvidia
COPY --from=build-libtorch-cuda /root/.cache/trainerd/libtorch-2.11.0/torch/lib /opt/libtorch/torch/lib
COPY --from=build-libtorch-cuda /root/.cache/trainerd/libtorch-2.11.0/torch/version.py /opt/libtorch/torch/
ENV TRAINERD_TORCH_LIB=/opt/libtorch/torch/lib NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001

# ---- without --target
FROM cpu
