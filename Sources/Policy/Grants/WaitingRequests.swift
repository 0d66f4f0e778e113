/// The requests that wait: for others to agree, or for their start.
///
/// They are few, as many as `RequestLimits` lets wait; all but a look at one is a look at all.
public struct WaitingRequests: Sendable {
    private var requests: [Int64: WaitingRequest] = [:]

    /// When something becomes of one of them by itself; nil where none waits.
    public private(set) var nextDue: Timestamp?

    /// Takes those that wait already.
    public init(_ requests: [WaitingRequest] = []) {
        for request in requests { self.requests[request.id] = request }
        summarize()
    }

    /// How many wait.
    public var count: Int { requests.count }

    /// The waiting request of a number.
    public subscript(id: Int64) -> WaitingRequest? { requests[id] }

    /// All, the oldest first.
    public var all: [WaitingRequest] { requests.values.sorted { $0.id < $1.id } }

    /// How many requests of a person wait.
    public func count(of subject: Subject) -> Int {
        requests.values.count { $0.requester.subject == subject }
    }

    /// Those that are to lengthen grants of earlier requests, the oldest first.
    public var extensions: [WaitingRequest] {
        extensionCount == 0 ? [] : all.filter { $0.wait.extends != nil }
    }

    /// How many those are.
    private var extensionCount = 0

    /// Those that something becomes of by itself at an instant, the oldest first.
    public func due(at now: Timestamp) -> [WaitingRequest] {
        guard let nextDue, nextDue <= now else { return [] }
        return all.filter { $0.due <= now }
    }

    /// Makes what happened part of them; answers the undoing.
    public mutating func apply(_ events: [Event]) -> Undo {
        var undo = Undo()
        for event in events {
            switch event {
            case .asked(let request): set(request.id, request, &undo)
            case .approved(let id, let approval, let state):
                guard var request = requests[id] else { break }
                request.wait.add(approval, then: state)
                set(id, request, &undo)
            case .concluded(let id, _, _, _, _): set(id, nil, &undo)
            case .opened(let request):
                if request.wait != nil { set(request.id, nil, &undo) }
            case .ended, .extended, .takenBack, .shortened, .used, .carriedOver, .noted: break
            }
        }
        if !undo.requests.isEmpty { summarize() }
        return undo
    }

    /// Brings them back as they were before changes.
    ///
    /// The changes must be the last ones that were made, or those after them be undone already.
    public mutating func undo(_ undo: Undo) {
        guard !undo.requests.isEmpty else { return }
        for (id, old) in undo.requests.reversed() { requests[id] = old }
        summarize()
    }

    /// What brings waiting requests back as they were before changes.
    public struct Undo: Sendable {
        /// Requests as they were, in the order of the changes; nil where there was none.
        fileprivate var requests: [(id: Int64, old: WaitingRequest?)] = []
    }

    private mutating func set(_ id: Int64, _ request: WaitingRequest?, _ undo: inout Undo) {
        guard request != nil || requests[id] != nil else { return }
        undo.requests.append((id, requests[id]))
        requests[id] = request
    }

    private mutating func summarize() {
        nextDue = requests.values.lazy.map(\.due).min()
        extensionCount = requests.values.count { $0.wait.extends != nil }
    }
}
