/// The version of both programs (SemVer 2.0.0).
public let version = "0.1.0"
