# SPDX-License-Identifier: Apache-2.0
"""A process of the soak with several clients, each a thread with an own connection: client.py ADDRESS ROOT SEED THREADS.
Prints one line when an answer is wrong. Ends by a signal only. client.py reader ADDRESS: a watcher that stops reading. client.py burst ADDRESS: many calls at once."""

import os
import random
import signal
import sys
import threading
import time

import grpc

from trainerd.v1 import checkpoint_pb2, job_config_pb2, job_pb2, trainer_pb2, trainer_pb2_grpc

Code = grpc.StatusCode
# What a command may answer while others change the same jobs, the daemon is killed and the disk is full.
ALLOWED = {Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.ABORTED, Code.ALREADY_EXISTS,
           Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE, Code.DEADLINE_EXCEEDED, Code.CANCELLED}
CALL_SECONDS = 60
# Jobs that wait for the device: more would only make the queue longer.
MAX_JOBS = 40


def channel(address):
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 1000)])


class SoakClient(threading.Thread):

    def __init__(self, address, root, seed):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.address, self.root, self.seed = address, root, seed
        self.jobs = []

    def run(self):
        self.trainer = trainer_pb2_grpc.TrainerStub(self.channel())
        self.runs = trainer_pb2_grpc.RunsStub(self.last_channel)
        self.checkpoints = trainer_pb2_grpc.CheckpointsStub(self.last_channel)
        commands = [self.submit] * 3 + [self.pause, self.resume] * 3 + [self.stop, self.stop, self.delete, self.delete, self.delete]
        commands += [self.list, self.get, self.watch, self.logs, self.wait, self.history, self.nonsense]
        commands += [self.checkpoint, self.change_checkpoint, self.verify, self.resume_from, self.collect]
        while True:
            command = self.random.choice(commands)
            begin = time.monotonic()
            try:
                command()
            except grpc.RpcError as error:
                if error.code() not in ALLOWED or (error.code() == Code.DEADLINE_EXCEEDED and command not in (self.watch, self.logs, self.wait)):
                    print(f"client {self.seed}: {command.__name__}: {error.code().name}: {error.details()}", flush=True)
            if time.monotonic() > begin + 2 * CALL_SECONDS:
                print(f"client {self.seed}: {command.__name__} took {time.monotonic() - begin:.0f} s", flush=True)
            time.sleep(self.random.expovariate(1 / 0.25))

    def channel(self):
        self.last_channel = channel(self.address)
        return self.last_channel

    def text(self, longest):
        return "x" * self.random.choice([0, 1, 20, longest // 2, longest])

    def name(self):
        listed = self.trainer.ListJobs(trainer_pb2.ListJobsRequest(page_size=50), timeout=CALL_SECONDS).jobs
        return self.random.choice(listed).name if listed else "jobs/none"

    def submit(self):
        listed = self.trainer.ListJobs(trainer_pb2.ListJobsRequest(page_size=MAX_JOBS + 1), timeout=CALL_SECONDS).jobs
        if len(listed) > MAX_JOBS:
            return
        config = job_config_pb2.JobConfig(name=self.text(200) or "soak", model={"path": f"{self.root}/model"})
        config.data.train.add(path=f"{self.root}/data.jsonl")
        config.data.system_prompt = self.text(64 << 10)
        config.train.seed = 7
        config.checkpoint.every_steps = self.random.choice([0, 5, 20])
        config.checkpoint.keep_last = self.random.choice([1, 3])
        steps = self.random.choice([5, 30, 60])
        labels = {"steps": steps, "step_ms": self.random.choice([0, 2, 10]), "checkpoint_bytes": self.random.choice([1 << 12, 1 << 18]),
                  "log_bytes": self.random.choice([0, 0, 2000])}
        if self.random.random() < 0.2:
            labels["crash_at"] = steps // 2
        for key, value in labels.items():
            config.labels["fake." + key] = str(value)
        for i in range(self.random.choice([0, 5, 40])):
            config.labels[f"label{i}"] = self.text(256)
        request = trainer_pb2.SubmitJobRequest(config=config, request_id=f"{self.seed}-{self.random.getrandbits(64):x}")
        for _ in range(self.random.choice([1, 1, 2])):
            job = self.trainer.SubmitJob(request, timeout=CALL_SECONDS).job

    def pause(self):
        self.trainer.Pause(trainer_pb2.PauseRequest(name=self.name(), reason=self.text(1024)), timeout=CALL_SECONDS)

    def resume(self):
        self.trainer.Resume(trainer_pb2.ResumeRequest(name=self.name()), timeout=CALL_SECONDS)

    def checkpoint(self):
        self.trainer.RequestCheckpoint(trainer_pb2.RequestCheckpointRequest(name=self.name(), labels={"soak": self.text(256)}, pin=self.random.random() < 0.2),
                                       timeout=CALL_SECONDS)

    def any_checkpoint(self):
        parent = self.random.choice(["jobs/-", self.name()])
        listed = self.checkpoints.ListCheckpoints(trainer_pb2.ListCheckpointsRequest(parent=parent), timeout=CALL_SECONDS).checkpoints
        return self.random.choice(listed) if listed else checkpoint_pb2.Checkpoint(name="jobs/none/checkpoints/none")

    def change_checkpoint(self):
        request = trainer_pb2.UpdateCheckpointRequest(checkpoint={"name": self.any_checkpoint().name, "labels": {"soak": self.text(256)}, "pinned": self.random.random() < 0.3})
        request.checkpoint.expire_time.seconds = int(time.time()) + self.random.choice([-1, 60])
        request.update_mask.paths.extend(self.random.choice([["labels"], ["pinned"], ["expire_time"], ["labels", "pinned", "expire_time"]]))
        self.checkpoints.UpdateCheckpoint(request, timeout=CALL_SECONDS)

    def verify(self):
        self.checkpoints.VerifyCheckpoint(trainer_pb2.VerifyCheckpointRequest(name=self.any_checkpoint().name), timeout=CALL_SECONDS)

    def resume_from(self):
        checkpoint = self.any_checkpoint()
        self.trainer.Resume(trainer_pb2.ResumeRequest(name=checkpoint.job or "jobs/none", from_checkpoint=checkpoint.name), timeout=CALL_SECONDS)

    def collect(self):
        parent = self.random.choice(["jobs/-", self.name()])
        self.checkpoints.CollectGarbage(trainer_pb2.CollectGarbageRequest(parent=parent, dry_run=self.random.random() < 0.5), timeout=CALL_SECONDS)

    def stop(self):
        mode = self.random.choice([trainer_pb2.StopRequest.GRACEFUL, trainer_pb2.StopRequest.DISCARD, trainer_pb2.StopRequest.FORCE])
        self.trainer.Stop(trainer_pb2.StopRequest(name=self.name(), mode=mode, reason=self.text(1024)), timeout=CALL_SECONDS)

    def delete(self):
        # Jobs with an odd first digit stay for the checks at the end, unless there are many.
        jobs = self.trainer.ListJobs(trainer_pb2.ListJobsRequest(page_size=200), timeout=CALL_SECONDS).jobs
        ended = [job for job in jobs if job.state >= job_pb2.Job.SUCCEEDED]
        if len(ended) > MAX_JOBS // 2:
            self.trainer.DeleteJob(trainer_pb2.DeleteJobRequest(name=ended[-1].name), timeout=CALL_SECONDS)

    def list(self):
        request = trainer_pb2.ListJobsRequest(page_size=self.random.choice([1, 7, 1000]))
        for _ in range(20):
            answer = self.trainer.ListJobs(request, timeout=CALL_SECONDS)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    def get(self):
        self.trainer.GetJob(trainer_pb2.GetJobRequest(name=self.name()), timeout=CALL_SECONDS)

    def watch(self):
        request = trainer_pb2.StreamStatusRequest(parent=self.random.choice(["jobs/-", self.name()]), after=self.random.choice(["", "begin"]),
                                                  send_snapshot=self.random.random() < 0.3)
        last = 0
        for message in self.trainer.StreamStatus(request, timeout=self.random.choice([0.2, 1, 3])):
            for event in message.events:
                if event.seq <= last:
                    print(f"client {self.seed}: event {event.seq} came after {last}", flush=True)
                last = event.seq

    def logs(self):
        request = trainer_pb2.StreamLogsRequest(name=self.name(), follow=self.random.random() < 0.5)
        for _ in self.runs.StreamLogs(request, timeout=self.random.choice([0.2, 1])):
            pass

    def wait(self):
        request = trainer_pb2.WaitJobRequest(name=self.name())
        request.timeout.nanos = self.random.randrange(10**9)
        self.trainer.WaitJob(request, timeout=CALL_SECONDS)

    def history(self):
        name = self.name()
        self.runs.ListAttempts(trainer_pb2.ListAttemptsRequest(parent=name), timeout=CALL_SECONDS)
        self.checkpoints.ListCheckpoints(trainer_pb2.ListCheckpointsRequest(parent=name, show_deleted=True), timeout=CALL_SECONDS)

    def nonsense(self):
        """Each of these is refused."""
        request = self.random.choice([trainer_pb2.GetJobRequest(name=self.random.choice(["", "/", "jobs/", "x" * 5000, "jobs/ä"])),
                                      trainer_pb2.GetJobRequest(name="jobs/none")])
        try:
            self.trainer.GetJob(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code() in (Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.UNAVAILABLE):
                return
            raise
        print(f"client {self.seed}: GetJob({request.name[:20]!r}) succeeded", flush=True)


def read_and_stop(address):
    """Reads one message of all events, then stops as a suspended program does."""
    stream = trainer_pb2_grpc.TrainerStub(channel(address)).StreamStatus(trainer_pb2.StreamStatusRequest(parent="jobs/-", after="begin"), wait_for_ready=True)
    next(stream)
    os.kill(os.getpid(), signal.SIGSTOP)


def read_at_once(address):
    """Many calls at the same time."""
    trainer = trainer_pb2_grpc.TrainerStub(channel(address))
    calls = [trainer.ListJobs.future(trainer_pb2.ListJobsRequest(page_size=3), timeout=CALL_SECONDS) for _ in range(200)]
    for call in calls:
        call.result()


def main():
    if sys.argv[1] == "reader":
        return read_and_stop(sys.argv[2])
    if sys.argv[1] == "burst":
        return read_at_once(sys.argv[2])
    address, root, seed, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    clients = [SoakClient(address, root, seed * 100 + i) for i in range(threads)]
    for client in clients:
        client.start()
    while all(client.is_alive() for client in clients):
        time.sleep(0.5)
    print(f"client process {seed}: a client has ended", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
