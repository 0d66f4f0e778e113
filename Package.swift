// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is built alike; a warning is an error.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]
/// For the targets that touch C memory: each unsafe expression is marked.
let memorySafe = settings + [.strictMemorySafety()]

let argumentParser = Target.Dependency.product(
    name: "ArgumentParser",
    package: "swift-argument-parser"
)
let collections = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let lifecycle = Target.Dependency.product(
    name: "ServiceLifecycle",
    package: "swift-service-lifecycle"
)
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let structuredFields = Target.Dependency.product(
    name: "RawStructuredFieldValues",
    package: "swift-http-structured-headers"
)
let unixSignals = Target.Dependency.product(
    name: "UnixSignals",
    package: "swift-service-lifecycle"
)
let sqlite = Target.Dependency.product(name: "GRDBSQLite", package: "GRDB.swift")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let package = Package(
    name: "sallyport",
    products: [
        .library(name: "Nftables", targets: ["Nftables"]),
        .executable(name: "sallyportd", targets: ["sallyportd"]),
        .executable(name: "sallyport", targets: ["sallyport"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-structured-headers", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // C libraries of the system, and what Swift's Glibc module leaves out.
        .systemLibrary(
            name: "CMnl",
            pkgConfig: "libmnl",
            providers: [.apt(["libmnl-dev"])]
        ),
        .systemLibrary(
            name: "CNftnl",
            pkgConfig: "libnftnl",
            providers: [.apt(["libnftnl-dev"])]
        ),
        .target(name: "CLinux"),
        // The one door to the C library and the system calls: errno, EINTR, descriptors, clocks.
        .target(
            name: "Linux",
            dependencies: ["CLinux", systemPackage],
            swiftSettings: memorySafe
        ),

        // The kernel. These two know nothing of grants and could be published alone.
        .target(
            name: "Netlink",
            dependencies: ["CLinux", "Linux", systemPackage],
            swiftSettings: memorySafe
        ),
        .target(
            name: "Nftables",
            dependencies: ["CLinux", "CMnl", "CNftnl", "Linux", "Netlink", systemPackage],
            swiftSettings: memorySafe
        ),

        // Values and decisions: no I/O, no clock.
        .target(name: "Policy", dependencies: [collections], swiftSettings: memorySafe),
        .target(
            name: "Settings",
            dependencies: ["Linux", "Policy", systemPackage, yams],
            swiftSettings: memorySafe
        ),

        // What is asked of the agent, whatever way it comes.
        .target(name: "API", dependencies: ["Policy"], swiftSettings: memorySafe),
        .target(name: "Access", dependencies: ["API", "Policy"], swiftSettings: memorySafe),

        // The agent.
        .target(
            name: "Gate",
            dependencies: ["Linux", "Netlink", "Nftables", "Policy", systemPackage],
            swiftSettings: memorySafe
        ),
        .target(
            name: "Ledger",
            dependencies: ["Linux", "Policy", crypto, grdb, sqlite, systemPackage],
            swiftSettings: memorySafe
        ),
        .target(
            name: "Server",
            dependencies: [
                "API", "Access", "Linux", "Policy", lifecycle, logging, nioCore, nioHTTP1,
                nioPosix, structuredFields, systemPackage,
            ],
            swiftSettings: memorySafe
        ),
        .target(
            name: "Survey",
            dependencies: ["API", "Linux", "Netlink", "Nftables", "Policy", systemPackage],
            swiftSettings: memorySafe
        ),
        .target(
            name: "Agent",
            dependencies: [
                "API", "Access", "Gate", "Ledger", "Linux", "Policy", "Settings", "Survey", crypto,
                logging,
            ],
            swiftSettings: memorySafe
        ),
        .target(
            name: "Daemon",
            dependencies: [
                "API", "Agent", "Gate", "Ledger", "Linux", "Policy", "Server", "Settings",
                lifecycle,
                logging, systemPackage, unixSignals,
            ],
            swiftSettings: memorySafe
        ),
        .executableTarget(
            name: "sallyportd",
            dependencies: ["API", "Daemon", "Policy", argumentParser],
            swiftSettings: memorySafe
        ),

        // Azure's just-in-time access in words of ours; pure.
        .target(
            name: "AzureShape",
            dependencies: ["API", "Policy"],
            swiftSettings: memorySafe
        ),

        // The command line.
        .target(
            name: "Client",
            dependencies: [
                "API", "Linux", "Policy", nioCore, nioEmbedded, nioHTTP1, systemPackage,
            ],
            swiftSettings: memorySafe
        ),
        .target(
            name: "Commands",
            dependencies: [
                "API", "AzureShape", "Client", "Linux", "Policy", argumentParser, systemPackage,
            ],
            swiftSettings: memorySafe
        ),
        .executableTarget(
            name: "sallyport",
            dependencies: ["Commands", "Linux"],
            swiftSettings: memorySafe
        ),

        // Tests, one target per library and one for the finished programs.
        .target(
            name: "TestSupport",
            dependencies: ["CLinux", "Linux", systemPackage],
            path: "Tests/Support",
            swiftSettings: settings
        ),
        .testTarget(
            name: "LinuxTests",
            dependencies: ["Linux", "TestSupport", systemPackage],
            swiftSettings: settings
        ),
        .testTarget(
            name: "NetlinkTests",
            dependencies: ["Linux", "Netlink", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "NftablesTests",
            dependencies: ["Netlink", "Nftables", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PolicyTests",
            dependencies: ["Policy", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SettingsTests",
            dependencies: ["Linux", "Policy", "Settings", "TestSupport", systemPackage],
            swiftSettings: settings
        ),
        .testTarget(
            name: "GateTests",
            dependencies: ["Gate", "Netlink", "Nftables", "Policy", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SurveyTests",
            dependencies: [
                "API", "Linux", "Netlink", "Nftables", "Policy", "Survey", "TestSupport",
            ],
            exclude: ["Rulesets"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LedgerTests",
            dependencies: ["Ledger", "Linux", "Policy", "TestSupport", grdb, systemPackage],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ServerTests",
            dependencies: [
                "API", "Access", "CLinux", "Client", "Linux", "Policy", "Server", "TestSupport",
                lifecycle, logging, nioCore, nioHTTP1, nioPosix, systemPackage, yams,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AgentTests",
            dependencies: [
                "API", "Access", "Agent", "Gate", "Ledger", "Linux", "Nftables", "Policy",
                "Settings", "Survey", "TestSupport", grdb, logging, systemPackage,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "AzureShapeTests",
            dependencies: ["API", "AzureShape", "Policy", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "CommandsTests",
            dependencies: ["API", "Commands", "Linux", "Policy", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SystemTests",
            dependencies: ["API", "TestSupport"],
            swiftSettings: settings
        ),
    ],
    swiftLanguageModes: [.v6]
)

// Not in an ordinary build: without libFuzzer it does not link. See `make fuzz`.
if Context.environment["SALLYPORT_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "fuzzer",
            dependencies: ["Netlink", "Nftables", "Policy", "Survey"],
            path: "Fuzz",
            exclude: ["Corpus"],
            swiftSettings: memorySafe + [.unsafeFlags(["-parse-as-library"])]
        )
    )
}
