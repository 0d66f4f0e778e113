package import Policy

extension Ask {
    /// Reads the body of `POST /v1/requests`.
    package init(json: [UInt8]) throws(JSONError) {
        var targets: [String]?
        var sources: [String]?
        var ask = Ask(targets: [], sources: [])
        try JSONReader.readObject(
            json,
            fields: ["targets", "sources", "duration", "until", "at", "reason", "ticket"]
        ) { name, reader throws(JSONError) in
            switch name {
            case "targets": targets = try reader.readTexts()
            case "sources": sources = try reader.readTexts()
            case "duration": ask.duration = try reader.readOptionalText()
            case "until": ask.until = try reader.readOptionalText()
            case "at": ask.at = try reader.readOptionalText()
            case "reason": ask.reason = try reader.readOptionalText()
            default: ask.ticket = try reader.readOptionalText()
            }
        }
        guard let targets else { throw JSONError(missing: "targets") }
        guard let sources else { throw JSONError(missing: "sources") }
        ask.targets = targets
        ask.sources = sources
        self = ask
    }
}

extension ExtendBody {
    /// Reads the body of `POST /v1/requests/{id}/extend`.
    package init(json: [UInt8]) throws(JSONError) {
        var duration: String?
        var grounds = Grounds()
        try JSONReader.readObject(
            json,
            fields: ["duration", "reason", "ticket"]
        ) { name, reader throws(JSONError) in
            switch name {
            case "duration": duration = try reader.readText()
            case "reason": grounds.reason = try reader.readOptionalText()
            default: grounds.ticket = try reader.readOptionalText()
            }
        }
        guard let duration else { throw JSONError(missing: "duration") }
        self.init(duration: duration, reason: grounds.reason, ticket: grounds.ticket)
    }
}

extension ApproveBody {
    /// Reads the body of `POST /v1/requests/{id}/approve`.
    package init(json: [UInt8]) throws(JSONError) {
        var body = Self()
        try JSONReader.readObject(
            json,
            fields: ["duration", "revision"]
        ) { name, reader throws(JSONError) in
            switch name {
            case "duration": body.duration = try reader.readOptionalText()
            default: body.revision = try reader.readOptionalNumber()
            }
        }
        self = body
    }
}

extension RevokeBody {
    /// Reads the body of `POST /v1/requests/{id}/revoke`.
    package init(json: [UInt8]) throws(JSONError) {
        var body = Self()
        try JSONReader.readObject(json, fields: ["reason", "cut"]) {
            name,
            reader throws(JSONError) in
            switch name {
            case "reason": body.reason = try reader.readOptionalText()
            default: body.cut = try reader.readFlag()
            }
        }
        self = body
    }
}

extension DenyBody {
    /// Reads the body of `POST /v1/requests/{id}/deny`.
    package init(json: [UInt8]) throws(JSONError) {
        var reason: String?
        try JSONReader.readObject(json, fields: ["reason"]) { _, reader throws(JSONError) in
            reason = try reader.readText()
        }
        guard let reason else { throw JSONError(missing: "reason") }
        self.init(reason: reason)
    }
}

extension PolicyFilesBody {
    /// Reads the body of `PUT /v1/policies`.
    package init(json: [UInt8]) throws(JSONError) {
        guard case .object(let fields) = try JSONValue(json: json), fields.count == 1,
            case .object(let files)? = fields.first(where: { $0.name == "files" })?.value
        else { throw JSONError(wrong: "it is not an object with one field, the object files") }
        var texts: [String: String] = [:]
        for file in files {
            guard case .text(let text) = file.value else {
                throw JSONError(wrong: "files.\(printable(file.name)) is not text")
            }
            texts[file.name] = text
        }
        self.init(files: texts)
    }
}
