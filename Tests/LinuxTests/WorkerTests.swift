import Glibc
import Linux
import Synchronization
import TestSupport
import Testing

@Suite struct WorkerTests {
    @Test func doesEverythingInOrderOnOneThreadOfItsOwn() async throws {
        let worker = try Worker()
        let done = Mutex<[(number: Int, thread: pthread_t)]>([])
        await withCheckedContinuation { continuation in
            for number in 0..<1_000 {
                worker.enqueue { done.withLock { $0.append((number, pthread_self())) } }
            }
            worker.enqueue { continuation.resume() }
        }
        let threads = done.withLock { done in
            #expect(done.map(\.number) == Array(0..<1_000))
            return Set(done.map(\.thread))
        }
        #expect(threads.count == 1)
        #expect(!threads.contains(pthread_self()))
    }

    @Test func aJobMayHandOverTheNext() async throws {
        let worker = try Worker()
        await withCheckedContinuation { continuation in
            worker.enqueue { worker.enqueue { continuation.resume() } }
        }
    }

    @Test func endsWhenItIsLetGoOfAndAllIsDone() async throws {
        let done = Mutex(0)
        let folder = Mutex("")
        do {
            let worker = try Worker()
            worker.enqueue {
                // /proc/thread-self leads to /proc/PID/task/TID.
                var bytes = [CChar](repeating: 0, count: 64)
                readlink("/proc/thread-self", &bytes, bytes.count - 1)
                let thread = bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
                folder.withLock { $0 = "/proc/" + String(decoding: thread, as: UTF8.self) }
                usleep(20_000)
            }
            for _ in 0..<100 { worker.enqueue { done.withLock { $0 += 1 } } }
        }
        #expect(try await eventually { done.withLock { $0 } == 100 })
        let task = folder.withLock { $0 }
        #expect(task.contains("/task/"))
        #expect(try await eventually { access(task, F_OK) != 0 })
    }
}
