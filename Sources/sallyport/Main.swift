import Commands
import Glibc

@main
enum Main {
    static func main() {
        exit(Sallyport.run(Array(CommandLine.arguments.dropFirst())))
    }
}
