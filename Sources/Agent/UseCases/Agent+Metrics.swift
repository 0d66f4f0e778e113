public import API
public import Access
import Gate
import Ledger
import Linux
import Policy
import Settings

extension Agent {
    /// The figures of now, for Prometheus.
    ///
    /// All is read from what the agent and the kernel hold anyhow; a scrape costs what `status` does.
    public func metrics(for caller: Caller) async throws -> MetricsPage {
        guard caller.maySeeAllPolicies else {
            throw Problem(
                .notPermitted,
                "cannot read the metrics: they are of all policies, and not all may be seen here"
            )
        }
        let figures = await committer.figures
        var page = MetricsPage()
        page.add(
            "sallyport_build_info",
            .gauge,
            "1, with the version of the agent.",
            .init(1, ["version": version])
        )
        page.addProcess(startedAt)
        page.add(gateReport())
        page.add(figures)
        page.add(
            "sallyport_refused_attempts_total",
            .counter,
            "Attempts on managed ports that were refused, as far as the kernel told of them.",
            .init(refusals.count)
        )
        page.add(
            "sallyport_ledger_size_bytes",
            .gauge,
            "Sizes of the ledger's files: the database, its write-ahead log, the reserve.",
            ledger.sizes.map { .init($0.bytes, ["file": $0.name]) }
        )
        page.add(
            "sallyport_event_listeners",
            .gauge,
            "Clients that follow events.",
            .init(await feed.listenerCount)
        )
        return page
    }
}

extension Committer {
    /// What of all this the metrics tell.
    struct Figures: Sendable {
        var tally: Tally
        /// Live grants by policy, of all that are configured and some that were.
        var grants: [String: Int]
        var pending: Int
        var scheduled: Int
        var isLedgerAvailable: Bool
        var areFilesInForce: Bool
    }

    /// What of all this the metrics tell.
    var figures: Figures {
        var grants = plan.activeCounts
        for policy in configuration.policies where grants[policy.name] == nil {
            grants[policy.name] = 0
        }
        let pending = waitingRequests.all.count { $0.wait.state == .pending }
        let summary = summary
        return Figures(
            tally: tally,
            grants: grants,
            pending: pending,
            scheduled: waitingRequests.count - pending,
            isLedgerAvailable: ledgerFault == nil,
            areFilesInForce: summary.origin == .files && summary.configurationError == nil
        )
    }
}

extension MetricsPage {
    /// Under the names that all of Prometheus' clients use.
    fileprivate mutating func addProcess(_ startedAt: Timestamp) {
        add(
            "process_start_time_seconds",
            .gauge,
            "When the agent started, in seconds since 1970.",
            .init(Double(startedAt.milliseconds) / 1000)
        )
        let use = try? ThisProcess.use
        add(
            "process_resident_memory_bytes",
            .gauge,
            "Resident memory.",
            use.map { [.init($0.residentBytes)] } ?? []
        )
        add(
            "process_cpu_seconds_total",
            .counter,
            "Time on the processors, of user and system.",
            use.map { [.init(Double($0.cpuMicroseconds) / 1_000_000)] } ?? []
        )
        add(
            "process_open_fds",
            .gauge,
            "Open file descriptors.",
            use.map { [.init($0.openFiles)] } ?? []
        )
        add(
            "process_max_fds",
            .gauge,
            "Descriptors there may be.",
            .init(ThisProcess.openFileLimit)
        )
    }

    fileprivate mutating func add(_ report: GateReport) {
        add(
            "sallyport_gate_armed",
            .gauge,
            "Whether the table in the kernel is what it should be.",
            .init(report.fault == nil)
        )
        add(
            "sallyport_gate_dropped_packets_total",
            .counter,
            "Packets to managed ports that were dropped, as the kernel counts them.",
            .init(report.droppedPackets)
        )
        add(
            "sallyport_break_glass_packets_total",
            .counter,
            "Packets that opened a connection from a source that is always let in.",
            report.breakGlass.map { .init($0.packets, ["source": "\($0.source)"]) }
        )
    }

    fileprivate mutating func add(_ figures: Committer.Figures) {
        let tally = figures.tally
        add(
            "sallyport_grants",
            .gauge,
            "Live grants.",
            figures.grants.sorted { $0.key < $1.key }.map { .init($0.value, ["policy": $0.key]) }
        )
        add(
            "sallyport_requests_waiting",
            .gauge,
            "Requests that wait: for others to agree (pending) or for their start (scheduled).",
            [
                .init(figures.pending, ["state": "pending"]),
                .init(figures.scheduled, ["state": "scheduled"]),
            ]
        )
        add(
            "sallyport_requests_total",
            .counter,
            "Requests for access, by what became of them when they were asked.",
            Tally.Outcome.allCases.map {
                .init(tally.requests[$0] ?? 0, ["outcome": $0.rawValue])
            }
        )
        let ends: [(RequestState, String)] = [
            (.active, "opened"), (.denied, "denied"), (.cancelled, "cancelled"),
            (.lapsed, "lapsed"), (.failed, "failed"),
        ]
        add(
            "sallyport_waits_ended_total",
            .counter,
            "Requests that had waited, by what became of them.",
            ends.map { .init(tally.waited[$0] ?? 0, ["outcome": $1]) }
        )
        add(
            "sallyport_grants_opened_total",
            .counter,
            "Grants that were opened.",
            .init(tally.openedGrants)
        )
        add(
            "sallyport_grants_extended_total",
            .counter,
            "Ends of grants that were moved.",
            .init(tally.extendedGrants)
        )
        add(
            "sallyport_grants_ended_total",
            .counter,
            "Grants that ended, by why.",
            EndReason.allCases.map {
                .init(tally.endedGrants[$0] ?? 0, ["reason": $0.rawValue])
            }
        )
        add(
            histogram: "sallyport_open_duration_seconds",
            "How long requests took that opened at once: until durable and in the kernel.",
            bounds: Histogram.bounds.map { Double($0) / 1_000_000 },
            counts: tally.openings.counts,
            sum: Double(tally.openings.sum) / 1_000_000
        )
        let kinds: [(AuditKind, String, String)] = [
            (.gateTampered, "sallyport_gate_tamperings_total", "Changes of the gate by others."),
            (.gateRearmed, "sallyport_gate_rearmings_total", "Times it was made anew after one."),
        ]
        for (kind, name, help) in kinds {
            add(name, .counter, help, .init(tally.notices[kind] ?? 0))
        }
        add(
            "sallyport_callers_refused_total",
            .counter,
            "Calls that were refused for want of a role, or to a delegate.",
            .init(tally.refusedCallers)
        )
        add(
            "sallyport_ledger_available",
            .gauge,
            "Whether what happens can be recorded; where it cannot, nothing opens.",
            .init(figures.isLedgerAvailable)
        )
        add(
            "sallyport_configuration_in_force",
            .gauge,
            "Whether the files, as they were last read, are in force.",
            .init(figures.areFilesInForce)
        )
    }
}
