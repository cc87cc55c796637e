# SPDX-License-Identifier: Apache-2.0
"""A small client of trainerd's gRPC API: commands that are safe to repeat, and a watch that loses nothing.

It needs grpcio and the code that grpc_tools.protoc makes from the protos (README.md of this folder).

    client = Client("unix:/home/me/.local/state/trainerd/trainerd.sock")
    job = client.submit(config, request_id="chat-1")
    for event in client.watch(job):
        print(event.seq, event.WhichOneof("body"))
"""
import os
import time
import uuid

import grpc

from trainerd.v1 import job_pb2, trainer_pb2, trainer_pb2_grpc

TERMINAL = {job_pb2.Job.SUCCEEDED, job_pb2.Job.FAILED, job_pb2.Job.STOPPED, job_pb2.Job.CANCELLED}
# The daemon restarts, or the connection broke. The call is repeated.
TRANSIENT = {grpc.StatusCode.UNAVAILABLE}
# WaitJob returns after an hour at most; a shorter time notices a dead connection earlier.
WAIT_SECONDS = 60


def default_address():
    """The daemon's socket in its default state directory; TRAINERD_ADDRESS names another one."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.environ.get("TRAINERD_ADDRESS") or f"unix:{state}/trainerd/trainerd.sock"


class EventsLost(Exception):
    """The daemon no longer has events after the cursor (CURSOR_EXPIRED). Read the job, then watch from `job.cursor`."""


class Client:
    """One connection. `token`: of a daemon that listens on TCP, the content of <state dir>/token."""

    def __init__(self, address=None, token=None, patience_seconds=60):
        self.patience_seconds = patience_seconds
        self.metadata = [("authorization", f"Bearer {token}")] if token else None
        # A ping after 30 s without data keeps a quiet call alive behind a NAT.
        options = [("grpc.keepalive_time_ms", 30_000), ("grpc.http2.max_pings_without_data", 0)]
        self.channel = grpc.insecure_channel(address or default_address(), options=options)
        self.trainer = trainer_pb2_grpc.TrainerStub(self.channel)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _repeat(self, method, request):
        """The answer of a call that is safe to repeat. Tries again for patience_seconds while the daemon cannot be reached."""
        give_up = time.monotonic() + self.patience_seconds
        pause = 0.1
        while True:
            try:
                return method(request, metadata=self.metadata)
            except grpc.RpcError as error:
                if error.code() not in TRANSIENT or time.monotonic() + pause > give_up:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 2)

    def _command(self, method, request):
        # With an id, a repeated call has no second effect.
        request.request_id = request.request_id or str(uuid.uuid4())
        return self._repeat(method, request)

    def submit(self, config, request_id="", base=""):
        """Queues a job (a JobConfig) and returns it. The same request_id returns the same job, also from another process."""
        request = trainer_pb2.SubmitJobRequest(config=config, request_id=request_id, base=base)
        return self._command(self.trainer.SubmitJob, request).job

    def get(self, name):
        return self._repeat(self.trainer.GetJob, trainer_pb2.GetJobRequest(name=name))

    def pause(self, name, reason=""):
        return self._command(self.trainer.Pause, trainer_pb2.PauseRequest(name=name, reason=reason))

    def resume(self, name):
        return self._command(self.trainer.Resume, trainer_pb2.ResumeRequest(name=name))

    def stop(self, name, mode=trainer_pb2.StopRequest.GRACEFUL, reason=""):
        return self._command(self.trainer.Stop, trainer_pb2.StopRequest(name=name, mode=mode, reason=reason))

    def update(self, name, paths, etag="", **config):
        """Changes keys of a job that are live: update(name, ["config.priority"], priority=10). A path without a value sets the default."""
        request = trainer_pb2.UpdateJobRequest(job=job_pb2.Job(name=name, etag=etag, config=config))
        request.update_mask.paths.extend(paths)
        return self._command(self.trainer.UpdateJob, request)

    def wait(self, name, states=()):
        """The job once it is in one of the states or in a terminal one."""
        request = trainer_pb2.WaitJobRequest(name=name, states=states)
        request.timeout.seconds = WAIT_SECONDS
        while True:
            job = self._repeat(self.trainer.WaitJob, request)
            if job.state in TERMINAL or job.state in states:
                return job

    def watch(self, job, after="", event_types=()):
        """Events of a job in order, each once, until the job has ended; a broken connection and a restart of the daemon are bridged.

        `job` is the answer of a call: the first event is the next one after that answer. `after` is another cursor to begin at;
        "begin" is the oldest event that the daemon has. Errors: EventsLost.
        """
        request = trainer_pb2.StreamStatusRequest(parent=job.name, event_types=event_types, until_terminal=True)
        # "" would mean "from now", and lose what happened since the answer.
        request.after = after or job.cursor or "begin"
        last_message = time.monotonic()
        while True:
            try:
                for message in self.trainer.StreamStatus(request, metadata=self.metadata):
                    last_message = time.monotonic()
                    # Each message is taken whole, so that a broken connection repeats no event.
                    request.after = message.cursor or request.after
                    yield from message.events
                return
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.OUT_OF_RANGE:
                    raise EventsLost(error.details()) from error
                if error.code() not in TRANSIENT or time.monotonic() > last_message + self.patience_seconds:
                    raise
            time.sleep(0.2)
