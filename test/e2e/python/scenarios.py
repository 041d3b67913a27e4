"""Debian's python3-etcd3 in use, one scenario a run: scenarios.py NAME SETTINGS, the settings as JSON.

Each scenario asserts what the client must see; a traceback and exit code 1 say what it did not.
"""

import json
import queue
import sys
import threading

import etcd3
import grpc

PATIENCE_S = 30


def connect(settings, **options):
    host, port = settings['hosts'][0]
    for name in ('ca_cert', 'cert_cert', 'cert_key'):
        if name in settings:
            options.setdefault(name, settings[name])
    return etcd3.client(host=host, port=port, timeout=PATIENCE_S, **options)


def connect_to(settings, member):
    host, port = settings['hosts'][member]
    return etcd3.client(host=host, port=port, timeout=PATIENCE_S)


def refused(code, text, work):
    """The call must fail so; a status that this client has no exception for comes as gRPC's own."""
    try:
        work()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        assert text in error.details(), error.details()
        return
    raise AssertionError('not refused: ' + text)


def keys_and_values(answers):
    return [(meta.key.decode(), value.decode()) for value, meta in answers]


def put_get_delete(settings):
    client = connect(settings)
    client.put('py/a', 'one')
    value, meta = client.get('py/a')
    assert (value, meta.key, meta.version) == (b'one', b'py/a', 1)
    assert meta.mod_revision == meta.create_revision == meta.response_header.revision
    before = client.put('py/a', 'two', prev_kv=True)
    assert before.prev_kv.value == b'one'
    value, later = client.get('py/a')
    assert (value, later.version, later.create_revision) == (b'two', 2, meta.create_revision)
    assert client.get('py/none') == (None, None)
    for member in range(len(settings['hosts'])):
        assert connect_to(settings, member).get('py/a')[0] == b'two'
    assert client.get('py/a', serializable=True)[0] == b'two'
    client.put(b'\xff\x00bytes', b'\x00\xfe')
    assert client.get(b'\xff\x00bytes')[0] == b'\x00\xfe'

    assert client.put_if_not_exists('py/once', 'first') is True
    assert client.put_if_not_exists('py/once', 'second') is False
    assert client.replace('py/once', 'first', 'replaced') is True
    assert client.replace('py/once', 'first', 'again') is False
    assert client.get('py/once')[0] == b'replaced'

    assert client.delete('py/once') is True
    assert client.delete('py/once') is False
    gone = client.delete('py/a', prev_kv=True, return_response=True)
    assert (gone.deleted, gone.prev_kvs[0].value) == (1, b'two')
    refused(grpc.StatusCode.INVALID_ARGUMENT, 'etcdserver: key is not provided', lambda: client.put('', 'x'))
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        'etcdserver: request is too large',
        lambda: client.put('large', 'x' * 1_700_000),
    )


def ranges(settings):
    client = connect(settings)
    for key, value in (('r/b', '2'), ('r/a', '3'), ('r/c', '1'), ('s', '0')):
        client.put(key, value)
    assert keys_and_values(client.get_prefix('r/')) == [('r/a', '3'), ('r/b', '2'), ('r/c', '1')]
    assert keys_and_values(client.get_range('r/b', 's')) == [('r/b', '2'), ('r/c', '1')]

    def by(target, order):
        answer = client.get_prefix('r/', sort_target=target, sort_order=order)
        return ''.join(key[-1] for key, _ in keys_and_values(answer))

    assert by('key', 'descend') == 'cba'
    assert by('value', 'ascend') == 'cba'
    assert by('create', 'ascend') == 'bac'
    assert by('mod', 'descend') == 'cab'
    client.put('r/b', '4')
    assert by('version', 'descend')[0] == 'b'
    assert [value for value, _ in client.get_prefix('r/', keys_only=True)] == [b''] * 3
    everything = [meta.key for _, meta in client.get_all(sort_order='ascend')]
    assert everything == sorted(everything) and {b'r/a', b's'} <= set(everything)
    response = client.get_prefix_response('r/')
    assert (response.count, response.more) == (3, False)
    assert client.delete_prefix('r/').deleted == 3
    assert list(client.get_prefix('r/')) == []


def transactions(settings):
    client = connect(settings)
    is_, t = client.transaction, client.transactions
    client.put('t/stock', '5')
    _, meta = client.get('t/stock')

    def holds(*compare):
        succeeded, _ = is_(compare=list(compare), success=[], failure=[])
        return succeeded

    assert holds(t.value('t/stock') == '5', t.version('t/stock') > 0, t.version('t/stock') < 2)
    assert holds(t.mod('t/stock') == meta.mod_revision, t.create('t/stock') != 1_000_000)
    assert holds(t.create('t/none') == 0, t.version('t/none') == 0)
    assert not holds(t.value('t/stock') != '5')
    assert not holds(t.value('t/stock') == '5', t.mod('t/stock') > meta.mod_revision)
    assert holds(t.value('t/', 't0') == '5') and not holds(t.version('t/', 't0') > 1)

    succeeded, answers = is_(
        compare=[t.value('t/stock') == '5'],
        success=[
            t.put('t/stock', '4', prev_kv=True),
            t.get('t/stock'),
            t.txn(
                # As in etcd, also an inner comparison is of what was there before.
                compare=[t.value('t/stock') == '5'],
                success=[t.put('t/inner', 'yes')],
                failure=[t.put('t/inner', 'no')],
            ),
        ],
        failure=[t.delete('t/stock')],
    )
    assert succeeded and answers[0].response_put.prev_kv.value == b'5'
    assert answers[1][0][0] == b'4'
    assert answers[2].response_txn.succeeded and client.get('t/inner')[0] == b'yes'
    succeeded, answers = is_(
        compare=[t.value('t/stock') == '5'],
        success=[],
        failure=[t.delete('t/', 't0', prev_kv=True), t.get('t/', 't0')],
    )
    assert not succeeded and answers[0].response_delete_range.deleted == 2 and answers[1] == []
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        'etcdserver: duplicate key given in txn request',
        lambda: is_(compare=[], success=[t.put('t/x', '1'), t.put('t/x', '2')], failure=[]),
    )


def seen(responses, count):
    """The next so many events, as (kind, key, value)."""
    events = []
    while len(events) < count:
        answer = responses.get(timeout=PATIENCE_S)
        if isinstance(answer, Exception):
            raise answer
        events += answer.events
    return [(type(event).__name__[:-5], event.key.decode(), event.value.decode()) for event in events]


def watches(settings):
    client, writer = connect(settings), connect_to(settings, -1)
    one, many = queue.Queue(), queue.Queue()
    watch_one = client.add_watch_callback('w/a', one.put, prev_kv=True)
    watch_many = client.add_watch_prefix_callback('w/', many.put)
    assert watch_one != watch_many
    first = writer.put('w/a', '1').header.revision
    writer.put('w/b', '2')
    writer.delete('w/a')
    assert seen(one, 2) == [('Put', 'w/a', '1'), ('Delete', 'w/a', '')]
    assert seen(many, 3) == [('Put', 'w/a', '1'), ('Put', 'w/b', '2'), ('Delete', 'w/a', '')]
    client.cancel_watch(watch_one)
    writer.put('w/a', '3')
    assert seen(many, 1) == [('Put', 'w/a', '3')]
    # Both are on one stream: the canceled one would have heard first.
    assert one.empty()
    client.cancel_watch(watch_many)

    events, cancel = client.watch('w/a', start_revision=first, prev_kv=True)
    history = [next(events) for _ in range(3)]
    assert [event.value for event in history] == [b'1', b'', b'3']
    assert isinstance(history[1], etcd3.events.DeleteEvent) and history[1].prev_value == b'1'
    cancel()
    assert list(events) == []

    events, cancel = client.watch_prefix('w/', start_revision=first)
    assert [next(events).key for _ in range(4)] == [b'w/a', b'w/b', b'w/a', b'w/a']
    cancel()

    def change(key):
        threading.Thread(target=lambda: writer.put(key, 'once')).start()

    at = client.get('w/a')[1].response_header.revision + 1
    change('w/a')
    assert client.watch_once('w/a', timeout=PATIENCE_S, start_revision=at).value == b'once'
    at += 1
    change('w/c')
    assert client.watch_prefix_once('w/', timeout=PATIENCE_S, start_revision=at).key == b'w/c'
    try:
        client.watch_once('w/never', timeout=0.1)
        raise AssertionError('heard of what never was')
    except etcd3.exceptions.WatchTimedOut:
        pass

    responses, cancel = client.watch_response('w/a', start_revision=first)
    answer = next(responses)
    assert len(answer.events) >= 3 and answer.header.revision >= first
    cancel()
    client.compact(at)
    events, cancel = client.watch('w/a', start_revision=first)
    try:
        next(events)
        raise AssertionError('history that is gone was told')
    except etcd3.exceptions.RevisionCompactedError as error:
        assert error.compacted_revision == at


def leases(settings):
    client = connect(settings)
    lease = client.lease(60)
    assert lease.ttl == 60 and lease.granted_ttl == 60 and 0 < lease.remaining_ttl <= 60
    client.put('l/a', 'x', lease=lease)
    client.put('l/b', 'x', lease=lease.id)
    assert sorted(lease.keys) == [b'l/a', b'l/b']
    assert client.get('l/a')[1].lease_id == lease.id
    assert [answer.TTL for answer in lease.refresh()] == [60]
    lease.revoke()
    assert client.get('l/a') == (None, None)
    assert lease.remaining_ttl == -1
    assert [answer.TTL for answer in lease.refresh()] == [0]
    refused(grpc.StatusCode.NOT_FOUND, 'etcdserver: requested lease not found', lease.revoke)

    chosen = client.lease(60, lease_id=0x7EADBEEF)
    assert chosen.id == 0x7EADBEEF
    try:
        client.lease(60, lease_id=chosen.id)
        raise AssertionError('a lease was granted twice')
    except etcd3.exceptions.PreconditionFailedError:
        pass
    chosen.revoke()

    # Nobody renews it: its key goes by itself, and a watch hears of that.
    events, cancel = client.watch('l/passing')
    client.put('l/passing', 'x', lease=client.lease(1))
    assert isinstance(next(events), etcd3.events.PutEvent)
    assert isinstance(next(events), etcd3.events.DeleteEvent)
    cancel()


def acquire(lock):
    """Waits by its own watch: beside Debian's tenacity, this client's `acquire` fails where it would wait."""
    while not lock.acquire(timeout=0):
        try:
            lock.etcd_client.watch_once(lock.key, timeout=1)
        except etcd3.exceptions.WatchTimedOut:
            pass
    return True


def locks(settings):
    client, other = connect(settings), connect_to(settings, -1)
    held = client.lock('door', ttl=30)
    assert not held.is_acquired()
    assert held.acquire() is True and held.is_acquired()
    rival = other.lock('door', ttl=30)
    assert rival.acquire(timeout=0) is False and not rival.is_acquired()
    assert [answer.TTL for answer in held.refresh()] == [30]
    assert rival.release() is False and held.is_acquired()
    assert held.release() is True and not held.is_acquired()

    # Who waits gets it with its release.
    with client.lock('door', ttl=30) as inside:
        assert inside.is_acquired()
        got = queue.Queue()
        waiting = threading.Thread(target=lambda: got.put(acquire(rival)))
        waiting.start()
        assert rival.is_acquired() is False
    assert got.get(timeout=PATIENCE_S) is True and rival.is_acquired()
    rival.release()

    # A holder that does not come back loses it with its lease.
    client.lock('door', ttl=1).acquire()
    assert acquire(rival) and rival.is_acquired()
    rival.release()

    # Several clients count under the lock: no step is lost.
    client.put('counter', '0')

    def count():
        own = connect(settings)
        for _ in range(3):
            lock = own.lock('counting', ttl=30)
            acquire(lock)
            own.put('counter', str(int(own.get('counter')[0]) + 1))
            lock.release()
        own.close()

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get('counter')[0] == b'9'


def maintenance(settings):
    client = connect(settings)
    status = client.status()
    assert status.version == '3.6.0' and status.db_size > 0 and status.raft_index > 0 and status.raft_term > 0
    members = list(client.members)
    assert sorted(member.name for member in members) == settings['names']
    assert status.leader.id in [member.id for member in members]
    assert all(member.peer_urls and member.client_urls for member in members)

    revision = client.put('m/a', '1').header.revision
    client.put('m/a', '2')
    client.compact(revision + 1, physical=True)
    # This client turns OUT_OF_RANGE into nothing of its own.
    refused(
        grpc.StatusCode.OUT_OF_RANGE,
        'etcdserver: mvcc: required revision has been compacted',
        lambda: client.compact(revision),
    )
    client.defragment()
    assert client.get('m/a')[0] == b'2'
    assert client.hash() == client.hash() != 0

    own = members[0]
    assert [(alarm.alarm_type, alarm.member_id) for alarm in client.create_alarm(own.id)] == [(1, own.id)]
    assert [alarm.member_id for alarm in client.list_alarms()] == [own.id]
    assert len(list(own.active_alarms)) == 1
    refused(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        'etcdserver: mvcc: database space exceeded',
        lambda: client.put('m/b', 'x'),
    )
    assert client.delete('m/a') is True
    client.disarm_alarm(own.id)
    assert list(client.list_alarms()) == []
    client.put('m/b', 'x')

    with open(settings['snapshot'], 'wb') as file:
        client.snapshot(file)

    added = client.add_member(settings['newMemberUrls'])
    assert added.peer_urls == settings['newMemberUrls'] and added.name == ''
    assert added.id in [member.id for member in client.members]
    added.update([settings['newMemberUrls'][0].replace('127.0.0.1', 'localhost')])
    again = next(member for member in client.members if member.id == added.id)
    assert 'localhost' in again.peer_urls[0]
    added.remove()
    assert added.id not in [member.id for member in client.members]


def authentication(settings):
    root = connect(settings, user='root', password='secret')
    root.put('b', 'of root')
    user = connect(settings, user='u', password='pw')
    user.put('a/1', 'mine')
    assert user.get('a/1')[0] == b'mine'
    denied = (grpc.StatusCode.PERMISSION_DENIED, 'etcdserver: permission denied')
    refused(*denied, lambda: user.get('b'))
    refused(*denied, lambda: user.put('b', 'x'))
    refused(*denied, lambda: list(user.get_range('a', 'c')))
    refused(*denied, lambda: user.delete_prefix('b'))
    refused(*denied, user.defragment)
    t = user.transactions
    refused(
        *denied,
        lambda: user.transaction(compare=[t.value('b') == 'x'], success=[t.put('a/1', 'no')], failure=[]),
    )
    lease = user.lease(60)
    user.put('a/leased', 'x', lease=lease)
    assert [answer.TTL for answer in lease.refresh()] == [60]
    events, cancel = user.watch('a/1', start_revision=1)
    assert next(events).value == b'mine'
    cancel()
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        'etcdserver: authentication failed, invalid user ID or password',
        lambda: connect(settings, user='u', password='wrong'),
    )
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        'etcdserver: user name is empty',
        lambda: connect(settings).get('a/1'),
    )


def secure(settings):
    client = connect(settings)
    assert client.uses_secure_channel
    client.put('tls/a', 'x')
    assert client.get('tls/a')[0] == b'x'
    events, cancel = client.watch('tls/a', start_revision=1)
    assert next(events).value == b'x'
    cancel()
    with client.lock('tls', ttl=30) as lock:
        assert lock.is_acquired()
    host, port = settings['hosts'][0]
    for bare in (
        etcd3.client(host=host, port=port, timeout=3, ca_cert=settings['ca_cert']),
        etcd3.client(host=host, port=port, timeout=3),
    ):
        try:
            bare.get('tls/a')
            raise AssertionError('served without a certificate')
        except etcd3.exceptions.ConnectionFailedError:
            pass


SCENARIOS = {
    f.__name__: f
    for f in (
        put_get_delete,
        ranges,
        transactions,
        watches,
        leases,
        locks,
        maintenance,
        authentication,
        secure,
    )
}

if __name__ == '__main__':
    SCENARIOS[sys.argv[1]](json.loads(sys.argv[2]))
    print('ok')
