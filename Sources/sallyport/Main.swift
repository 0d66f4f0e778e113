import Commands
import Linux

@main
enum Main {
    static func main() {
        ThisProcess.end(status: Sallyport.run(Array(CommandLine.arguments.dropFirst())))
    }
}
