import API
import Access
import NIOHTTP1
import Policy

extension Call {
    /// The header in which a client says what session its user works in.
    private static let sessionHeader = "Sallyport-Session"

    /// On which terms something is changed.
    func terms() throws(Problem) -> ChangeTerms {
        ChangeTerms(
            session: try session(),
            isForced: try flag("force"),
            keepsGrants: try flag("keep_grants"),
            confirmWithin: try parameter("confirm_within", "a time from 1s to 1h, like 60s") {
                let time = try? Duration(parsing: $0)
                return time.flatMap { ChangeTerms.confirmationTimes.contains($0) ? $0 : nil }
            }
        )
    }

    private func session() throws(Problem) -> OwnSession? {
        let values = headers[Self.sessionHeader]
        guard let value = values.first else { return nil }
        guard values.count == 1, let session = try? OwnSession(parsing: value) else {
            throw Problem(
                .badRequest,
                "cannot read header \(Self.sessionHeader): write it once, as SSH_CONNECTION: "
                    + "198.51.100.7 52044 192.0.2.1 22"
            )
        }
        return session
    }
}
