# SPDX-License-Identifier: Apache-2.0
# trainerd as a container image; deploy/README.md says how to run it.
#   docker build -t trainerd .                      daemon, client, worker for the CPU
#   docker build -t trainerd:cuda --target cuda .   the same with the CUDA plugin and its libraries
#   docker build --target control .                 daemon and client, without LibTorch
# BASE: Debian 12, Debian 13 or Ubuntu 24.04.
ARG BASE=debian:bookworm-slim

# ---- what needs no LibTorch, as Debian packages: they name the libraries that they need.
FROM ${BASE} AS build
# More flags for cmake.
ARG CMAKE_FLAGS=
ENV TRAINERD_CACHE=/cache
WORKDIR /src
COPY deploy/install_dependencies.sh deploy/least_versions.sh deploy/
COPY deploy/requirements deploy/requirements/
RUN deploy/install_dependencies.sh --no-engine && \
    apt-get install -y --no-install-recommends dpkg-dev file && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cmake --preset release -DTRAINERD_ENGINE=OFF ${CMAKE_FLAGS} && ninja -C build/release && \
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
RUN deploy/install_dependencies.sh && rm -rf /var/lib/apt/lists/*
RUN cmake --preset release -DTRAINERD_ENGINE=ON -DTRAINERD_CUDA=OFF && \
    ninja -C build/release && rm -rf /packages && \
    cpack --config build/release/CPackConfig.cmake -D CPACK_COMPONENTS_ALL=worker -B /packages && \
    deploy/container/cpu_libraries.sh /cache/libtorch-2.11.0 /libtorch

FROM control AS cpu
USER 0
COPY --from=build-worker /packages/*.deb /packages/
RUN apt-get update && apt-get install -y --no-install-recommends /packages/*.deb && \
    rm -rf /packages /var/lib/apt/lists/*
COPY --from=build-worker /libtorch /opt/libtorch
ENV TRAINERD_TORCH_LIB=/opt/libtorch/torch/lib
USER 10001

FROM build-worker AS build-cuda
RUN deploy/install_dependencies.sh --cuda && rm -rf /var/lib/apt/lists/*
RUN cmake --preset release -DTRAINERD_CUDA=ON && ninja -C build/release && rm -rf /packages && \
    cpack --config build/release/CPackConfig.cmake -D CPACK_COMPONENTS_ALL=worker -B /packages

FROM control AS cuda
USER 0
COPY --from=build-cuda /packages/*.deb /packages/
RUN apt-get update && apt-get install -y --no-install-recommends /packages/*.deb && \
    rm -rf /packages /var/lib/apt/lists/*
COPY --from=build-cuda /cache/libtorch-2.11.0/nvidia /opt/libtorch/nvidia
COPY --from=build-cuda /cache/libtorch-2.11.0/torch/lib /opt/libtorch/torch/lib
COPY --from=build-cuda /cache/libtorch-2.11.0/torch/version.py /opt/libtorch/torch/
ENV TRAINERD_TORCH_LIB=/opt/libtorch/torch/lib NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001

# ---- without --target
FROM cpu
