# SPDX-License-Identifier: Apache-2.0
"""What a disk may hold after a power cut, from a recording of all calls that changed it (tests/fakes/disk_calls.cc).

The rules are those of POSIX, and what every journaling file system of Linux adds:
- What was written to a file before an fsync of it began is there once that fsync has returned. Of what was written since, any part can be there: each sector of
  512 bytes by itself, in any order; a file can be longer than what was written to it, with zeros in between.
- Names change in order within one folder: if a change is there, so are the earlier ones. An fsync of the folder makes them durable; an fsync of a file makes its own
  creation durable, and that of its folders. A rename is there or not, as a whole, and needs an fsync of one of its folders."""

import bisect
import os
import random
import shutil
import struct

SECTOR = 512
HEADER = struct.Struct("<IHHcQq")
# How much of what is not durable is there: all of it (as after kill -9), nothing, the names without what is in the files, a random part.
KEPT, LOST, NAMES, TORN = "kept", "lost", "names", "torn"
MODES = (KEPT, LOST, NAMES, TORN)


class Node:
    """A file or a folder."""

    def __init__(self, is_folder, created=-1, parent=None):
        self.is_folder = is_folder
        self.created = created  # operation; -1 = before all
        self.parent = parent    # at its creation
        self.changes = []       # of a file: (operation, offset, data), data None = truncation to offset
        self.syncs = []         # (operation, first operation that it does not cover)
        self.entries = {}       # of a folder, as all operations have left it

    def durable(self, cut):
        """Operations below this number were synced before the cut."""
        return max((covers for at, covers in self.syncs if at < cut), default=0)

    def contents(self, cut, mode, source):
        data, durable = bytearray(), self.durable(cut)
        for at, offset, written in self.changes:
            if at >= cut:
                break
            if at < durable or mode == KEPT:
                apply(data, offset, written)
            elif mode == TORN:
                tear(data, offset, written, source)
        return bytes(data)


def apply(data, offset, written):
    if written is None:
        del data[offset:]
        data.extend(bytes(offset - len(data)))
        return
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset:offset + len(written)] = written


def tear(data, offset, written, source):
    fate = source.randrange(3)
    if fate == 0:
        return
    if written is None or fate == 1:
        apply(data, offset, written)
        return
    at = 0
    while at < len(written):
        end = min(len(written), at + SECTOR - (offset + at) % SECTOR)
        if source.randrange(2):
            apply(data, offset + at, written[at:end])
        at = end


class NameChange:
    """One change of the names of folders: each edit is (folder, name, node), node None = removed."""

    def __init__(self, at, edits):
        self.at = at
        self.edits = edits
        self.folders = {id(folder): folder for folder, _, _ in edits}


class Recording:
    """`root`: the recorded folder. `syncs`: False reads the recording as if no fsync had been called."""

    def __init__(self, path, root, syncs=True):
        self.root_path = root
        self.root = Node(is_folder=True)
        self.names = []      # NameChanges in order
        self.files = []      # all Nodes of files
        self.calls = []      # (kind, path) of each operation
        self.positions = []  # of each operation in the recording
        self.nodes = {}      # by number of the inode, which is used again
        with open(path, "rb") as file:
            data = file.read()
        at = 0
        while at < len(data):
            size, path_size, other_size, kind, inode, offset = HEADER.unpack_from(data, at)
            self.positions.append(at)
            at += HEADER.size
            path, other = data[at:at + path_size].decode(), data[at + path_size:at + path_size + other_size].decode()
            at += path_size + other_size
            kind = kind.decode()
            self.calls.append((kind, path))
            if kind != "s" or syncs:
                self.read(kind, inode, offset, path, other, data[at:at + size])
            at += size

    def __len__(self):
        return len(self.positions)

    def operation_at(self, position):
        """The first operation that was recorded after the recording had this size."""
        return bisect.bisect_left(self.positions, position)

    def find(self, path):
        node = self.root
        for name in path[len(self.root_path):].split("/"):
            if name:
                node = node.entries.get(name) if node is not None else None
        return node

    def read(self, kind, inode, offset, path, other, data):
        now = len(self.positions) - 1
        if path == self.root_path:
            self.nodes[inode] = self.root
        if kind in ("w", "t"):
            if inode in self.nodes:
                self.nodes[inode].changes.append((now, offset, data if kind == "w" else None))
        elif kind == "s":
            if inode in self.nodes:
                self.nodes[inode].syncs.append((now, self.operation_at(offset)))
        elif path != self.root_path:
            self.read_names(kind, now, inode, path, other)

    def read_names(self, kind, now, inode, path, other):
        folder, name = self.find(os.path.dirname(path)), os.path.basename(path)
        if folder is None:
            return
        if kind in ("c", "d"):
            node = self.nodes[inode] = Node(kind == "d", now, folder)
            if kind == "c":
                self.files.append(node)
            edits = [(folder, name, node)]
        elif kind == "l":
            edits = [(folder, name, self.nodes[inode])]
        elif name not in folder.entries:
            return  # a socket, or a file that another program made
        elif kind == "u":
            edits = [(folder, name, None)]
        else:
            edits = [(folder, name, None), (self.find(os.path.dirname(other)), os.path.basename(other), folder.entries[name])]
        for where, entry, node in edits:
            where.entries.pop(entry, None)
            if node is not None:
                where.entries[entry] = node
        self.names.append(NameChange(now, edits))

    def durable_names(self, cut):
        """The NameChanges before the cut that are durable, as a set of their operations."""
        upto = {}  # folder → changes below this operation are durable

        def raise_to(folder, operation):
            while folder is not None and upto.get(id(folder), 0) < operation:
                upto[id(folder)] = operation
                folder, operation = folder.parent, folder.created + 1

        for node in self.files:
            if node.created < cut and node.durable(cut) > node.created:
                raise_to(node.parent, node.created + 1)
        folders = {key: folder for change in self.names if change.at < cut for key, folder in change.folders.items()}
        for folder in folders.values():
            raise_to(folder, folder.durable(cut))
        durable = set()
        for change in reversed(self.names):
            if change.at < cut and any(change.at < upto.get(key, 0) for key in change.folders):
                durable.add(change.at)
                for folder in change.folders.values():
                    raise_to(folder, change.at + 1)
        return durable

    def tree(self, cut, mode, source):
        """Folder (by id) → name → Node."""
        durable, entries, closed = self.durable_names(cut), {}, set()
        for change in self.names:
            if change.at >= cut:
                break
            if change.at not in durable:
                if mode == LOST or mode == TORN and source.randrange(4) == 0:
                    closed.update(change.folders)
                if closed & set(change.folders):
                    closed.update(change.folders)
                    continue
            for folder, name, node in change.edits:
                there = entries.setdefault(id(folder), {})
                there.pop(name, None)
                if node is not None:
                    there[name] = node
        return entries

    def state(self, cut, mode, seed=0):
        """Path below the root → bytes of a file, None for a folder: a possible state when the power goes before operation `cut`."""
        source = random.Random(f"{cut} {mode} {seed}")
        entries, state = self.tree(cut, mode, source), {}

        def walk(folder, prefix):
            for name, node in entries.get(id(folder), {}).items():
                state[prefix + name] = None if node.is_folder else node.contents(cut, mode, source)
                if node.is_folder:
                    walk(node, prefix + name + "/")
        walk(self.root, "")
        return state


def write_state(state, root):
    """Replaces the folder `root` with the state."""
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root, mode=0o700)
    for path, contents in state.items():
        full = os.path.join(root, path)
        if contents is None:
            os.makedirs(full, mode=0o700, exist_ok=True)
        else:
            with open(os.open(full, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(contents)


def differences(state, root):
    """Paths at which the state is not what the disk holds, less sockets and SQLite's index of its log."""
    found = set()
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            full = os.path.join(folder, name)
            if os.path.isdir(full):
                found.add((os.path.relpath(full, root), None))
            elif os.path.isfile(full) and not name.endswith("-shm"):
                with open(full, "rb") as file:
                    found.add((os.path.relpath(full, root), file.read()))
    expected = {(path, contents) for path, contents in state.items() if not path.endswith("-shm")}
    return sorted({path for path, _ in found ^ expected})
