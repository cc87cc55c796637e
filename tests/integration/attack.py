# SPDX-License-Identifier: Apache-2.0
"""Every RPC of the descriptors as every kind of caller, over plain TCP and TLS. The calls and what is expected of them are made from the option (access) of
each RPC; NOT_FOR_VIEWERS and READS guard the options themselves. Run by access_test.py with the interpreter that has grpcio; the first argument is a JSON
document, the failures are printed as a JSON list."""

import json
import sys

import grpc
from google.protobuf import json_format, message_factory
from trainerd.v1 import access_pb2, evaluation_pb2, file_pb2, role_pb2, trainer_pb2

VIEWER, OPERATOR, ADMIN = role_pb2.ROLE_VIEWER, role_pb2.ROLE_OPERATOR, role_pb2.ROLE_ADMIN
# A resource of each type. JOB is a job of alice, FILE an upload of hers; the others do not exist, so that nothing is changed where the call is allowed.
RESOURCES = {"JOB": "JOB", "CHECKPOINT": "JOB/checkpoints/none", "MODEL": "JOB/checkpoints/none", "EVALUATION": "JOB/evaluations/none", "FILE": "FILE",
             "TOKEN": "tokens/none", "NOTIFICATION": "notifications/77"}
# Fields that every sample request has where its message has the field: a command for an etag that is old changes nothing, and a call that waits returns.
FIELDS = {"etag": "x", "timeout": "0s", "send_snapshot": True, "page_size": 1, "suites": ["s"], "suite": "s"}
# Independent of the options: what a call that reads is named, and some calls that a viewer may never make, whatever they are named.
READS = ("Get", "List", "Query", "Stream", "Wait", "Explain", "Download")
NOT_FOR_VIEWERS = {"Admin.ListTokens", "Admin.ListAuditEntries", "Admin.CreateToken", "Admin.RevokeToken", "Admin.Drain", "Trainer.SubmitJob",
                   "Trainer.Stop", "Trainer.DeleteJob", "Files.UploadFile", "Files.DeleteFile"}


def methods():
    for file in (trainer_pb2, evaluation_pb2, file_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"{service.name}.{method.name}", service.full_name, method


def sample(method, access):
    """A request that changes nothing where it is allowed, as JSON."""
    request, message = {}, method.input_type
    inside = request
    *groups, last = access.resource.split(".") if access.resource else [None]
    for group in groups:
        inside = inside.setdefault(group, {})
        message = message.fields_by_name[group].message_type
    if last:
        inside[last] = RESOURCES[access_pb2.CallAccess.ResourceType.Name(access.resource_type)]
    for name, value in FIELDS.items():
        if name in message.fields_by_name:
            inside[name] = value
    return request


def rules():
    """(method, least role, whether an operator needs to own what it names, request) of each RPC and of each of its exceptions."""
    for name, _, method in methods():
        if not method.GetOptions().HasExtension(access_pb2.access):
            raise AssertionError(f"{name} has no option (access)")
        access = method.GetOptions().Extensions[access_pb2.access]
        request = sample(method, access)
        yield name, access.role, access.owned, request
        for other in access.unless:
            yield name, other.role, other.owned, request | {other.field: {"true": True, "false": False}.get(other.value, other.value)}


class Caller:
    """A channel, with the metadata of each call."""

    def __init__(self, channel, token=None):
        self.channel = channel
        self.metadata = [("authorization", f"Bearer {token}")] if token else []

    def call(self, service, method, fields):
        """(code, serialized details, first answer) of a call."""
        request = json_format.ParseDict(fields, message_factory.GetMessageClass(method.input_type)())
        answer_class = message_factory.GetMessageClass(method.output_type)
        options = {"request_serializer": lambda message: message.SerializeToString(), "response_deserializer": answer_class.FromString}
        path = f"/{service}/{method.name}"
        arguments = {"metadata": self.metadata, "timeout": 20}
        try:
            if method.client_streaming:
                return grpc.StatusCode.OK, b"", self.channel.stream_unary(path, **options)(iter([request]), **arguments)
            if not method.server_streaming:
                return grpc.StatusCode.OK, b"", self.channel.unary_unary(path, **options)(request, **arguments)
            stream = self.channel.unary_stream(path, **options)(request, **arguments)
            first = next(iter(stream), None)
            stream.cancel()
            return grpc.StatusCode.OK, b"", first
        except grpc.RpcError as error:
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            return error.code(), details, None


def find(name):
    return next((service, method) for found, service, method in methods() if found == name)


def must(caller, name, fields):
    code, details, answer = caller.call(*find(name), fields)
    assert code == grpc.StatusCode.OK, f"{name}: {code} {details}"
    return answer


def filled(value, names):
    if isinstance(value, dict):
        return {key: filled(entry, names) for key, entry in value.items()}
    if not isinstance(value, str):
        return value
    for key, name in names.items():
        value = value.replace(key, name)
    return value


def expected(role, least, owned, is_owner):
    """The code and reason of a caller that is known; (None, None): not refused."""
    if role < least:
        return grpc.StatusCode.PERMISSION_DENIED, b"ROLE"
    if owned and role == OPERATOR and not is_owner:
        return grpc.StatusCode.PERMISSION_DENIED, b"NOT_OWNER"
    return None, None


def check_rules(failures):
    for name, least, _, request in rules():
        reads = name.split(".")[1].startswith(READS) or request.get("dry_run")
        if least not in (VIEWER, OPERATOR, ADMIN):
            failures.append(f"{name} has no role")
        if least == VIEWER and (name in NOT_FOR_VIEWERS or not reads):
            failures.append(f"a viewer may call {name} with {request}")


def attack(transport, callers, names, failures):
    for name, least, owned, request in rules():
        service, method = find(name)
        for who, (caller, role, refusal) in callers.items():
            code, details, _ = caller.call(service, method, filled(request, names))
            want = (grpc.StatusCode.UNAUTHENTICATED, refusal) if refusal else expected(role, least, owned, who.startswith("alice"))
            if who == "nobody":
                want = (grpc.StatusCode.PERMISSION_DENIED, b"NO_ROLE")
            refused = code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
            if want[0] is None and (refused or code == grpc.StatusCode.UNIMPLEMENTED) or want[0] is not None and (code != want[0] or want[1] not in details):
                failures.append(f"{transport} {name} as {who}: {code} {details}, expected {want}")


def main():
    world = json.loads(sys.argv[1])
    plain = grpc.insecure_channel(world["tcp"])

    def tls(name=None):
        read = lambda path: open(f"{world['certs']}/{path}", "rb").read()
        pair = (read(f"{name}.key"), read(f"{name}.pem")) if name else (None, None)
        return grpc.secure_channel(world["tls"], grpc.ssl_channel_credentials(read("ca.pem"), *pair))

    admin = Caller(plain, world["token"])
    secrets = {}
    for who, role in (("victor", VIEWER), ("alice", OPERATOR), ("bob", OPERATOR), ("ada", ADMIN), ("revoked", ADMIN)):
        created = must(admin, "Admin.CreateToken", {"principal": who, "role": role_pb2.Role.Name(role)})
        secrets[who] = created.secret
        if who == "revoked":
            must(admin, "Admin.RevokeToken", {"name": created.token.name})
    submitted = must(Caller(plain, secrets["alice"]), "Trainer.SubmitJob", {"config": world["job"]})
    assert submitted.job.owner == "alice", submitted.job.owner
    failures = []
    check_rules(failures)
    for transport, channel in (("TCP", plain), ("TLS", tls())):
        # The round ends with its removal.
        uploaded = must(Caller(plain, secrets["alice"]), "Files.UploadFile", {"sha256": world["sha256"], "sizeBytes": 1000})
        assert uploaded.owner == "alice", uploaded.owner
        names = {"JOB": submitted.job.name, "FILE": uploaded.name}
        callers = {"nothing": (Caller(channel), 0, b"NO_CREDENTIALS"), "wrong": (Caller(channel, "x" * 40), 0, b"TOKEN_INVALID"),
                   "revoked": (Caller(channel, secrets["revoked"]), 0, b"TOKEN_INVALID"), "victor": (Caller(channel, secrets["victor"]), VIEWER, None),
                   "bob": (Caller(channel, secrets["bob"]), OPERATOR, None), "alice, whose file goes": (Caller(channel, secrets["alice"]), OPERATOR, None),
                   "ada": (Caller(channel, secrets["ada"]), ADMIN, None)}
        if transport == "TLS":
            # A certificate is enough, and a token beside it decides.
            callers |= {"cert-viewer": (Caller(tls("cert-viewer")), VIEWER, None), "alice by certificate": (Caller(tls("cert-alice")), OPERATOR, None),
                        "nobody": (Caller(tls("cert-nobody")), 0, None), "viewer token beside": (Caller(tls("cert-alice"), secrets["victor"]), VIEWER, None)}
        attack(transport, callers, names, failures)
    # An upload of another owner that is not complete.
    code, details, _ = Caller(plain, secrets["bob"]).call(*find("Files.UploadFile"), {"sha256": world["sha256_2"], "sizeBytes": 10})
    assert code == grpc.StatusCode.OK, details
    code, details, _ = Caller(plain, secrets["alice"]).call(*find("Files.UploadFile"), {"sha256": world["sha256_2"], "sizeBytes": 10})
    if code != grpc.StatusCode.PERMISSION_DENIED or b"NOT_OWNER" not in details:
        failures.append(f"alice continued an upload of bob: {code} {details}")
    print(json.dumps(failures))


if __name__ == "__main__":
    main()
