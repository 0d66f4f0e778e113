import Policy

extension Example {
    /// The routes of the audit trail.
    static let audit: [Example] = [
        Example("GET /v1/audit", get("/v1/audit"), asks: .audit(AuditFilter())),
        Example(
            "GET /v1/audit",
            get(
                "/v1/audit?since=2026-12-01T18:00:00%2B01:00&until=2026-12-01T17:00:00.5Z"
                    + "&policy=ssh&user=a%40b&event=break-glass-used&source=2001:db8::/64"
                    + "&request=17&before=9&limit=1000"
            ),
            asks: .audit(
                AuditFilter(
                    since: Samples.instant,
                    until: Samples.instant + .milliseconds(500),
                    policy: "ssh",
                    user: "a@b",
                    event: .breakGlassUsed,
                    source: "2001:db8::/64",
                    request: 17,
                    before: 9,
                    limit: 1000
                )
            )
        ),
        Example("GET /v1/audit/verify", get("/v1/audit/verify"), asks: .verifyAudit(head: nil)),
        Example(
            "GET /v1/audit/verify",
            get("/v1/audit/verify?head=\(AuditRow.firstHash)"),
            asks: .verifyAudit(head: AuditRow.firstHash)
        ),
    ]
}
